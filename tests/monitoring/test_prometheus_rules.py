"""Rules, routes and configuration, checked by Prometheus' and Alertmanager's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.monitoring.promql import MONITORING, RULES, groupings, rules, selectors

pytestmark = pytest.mark.slow

UNIT_TESTS = sorted((MONITORING / "tests").glob("*.yml"))
ALERTS = {alert["alert"]: alert for alert in rules("alert")}
PAGE = "docs/monitoring.md"
RUNBOOK = (Path(__file__).resolve().parents[2] / PAGE).read_text()


def tool(name: str, *arguments: str | Path) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: apt-get install prometheus prometheus-alertmanager")
    done = subprocess.run(
        [name, *map(str, arguments)], cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("up == 1", [("up", set())]),
        (
            'sum by (le) (rate(a_bucket{x="1",y!~"b{c"}[5m])) / on (job) group_left () b',
            [("a_bucket", {"x", "y"}), ("b", set())],
        ),
        (
            "(slo:a:rate1h > 14.4 and slo:b) unless on (z) (c == 1)",
            [("slo:a:rate1h", set()), ("slo:b", set()), ("c", set())],
        ),
        ("max(a offset 5m) or vector(0)", [("a", set())]),
    ],
)
def test_metrics_are_read_out_of_an_expression(expression: str, found: list[tuple[str, set[str]]]):
    assert [s for s in selectors(expression) if s[0] != "m"] == found


def test_the_configuration_is_good():
    tool("promtool", "check", "config", "--syntax-only", "prometheus.yml")
    tool("promtool", "check", "rules", *RULES)
    tool("amtool", "check-config", "alertmanager.yml")


def test_every_service_is_scraped_with_a_key_from_a_file_that_is_not_here():
    content = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in content["scrape_configs"]}
    assert set(jobs) == {"prediction", "data", "training", "monitoring"}
    assert all(job["authorization"] == {"credentials_file": "punctual.key"} for job in jobs.values())
    assert not (MONITORING / "punctual.key").exists()
    assert "deploy/monitoring/punctual.key" in (MONITORING.parents[1] / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Path):
    tool("promtool", "test", "rules", path)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_tried_both_ways(name: str):
    cases = [
        case
        for path in UNIT_TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
        if case["alertname"] == name
    ]
    assert any(case["exp_alerts"] for case in cases), f"no unit test lets {name} fire"
    assert any(not case["exp_alerts"] for case in cases), f"no unit test keeps {name} quiet"


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_runbook_entry_and_points_to_it(name: str):
    alert = ALERTS[name]
    assert alert["annotations"]["runbook"] == f"{PAGE}#{name.lower()}"
    assert re.search(rf"^### {name}$", RUNBOOK, re.MULTILINE), f"{PAGE} has no entry for {name}"
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}


def test_every_runbook_entry_is_of_an_alert():
    entries = re.findall(r"^### (\w+)$", RUNBOOK.partition("\n## Runbook\n")[2], re.MULTILINE)
    assert sorted(entries) == sorted(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_reaches_whom_its_severity_says(name: str):
    severity = ALERTS[name]["labels"]["severity"]
    assert severity in ("page", "ticket")
    labels = [f"alertname={name}", f"severity={severity}", "service=prediction"]
    told = tool("amtool", "config", "routes", "test", "--config.file=alertmanager.yml", *labels)
    assert told.split() == [severity]


def test_an_alert_that_nobody_foresaw_is_told_as_well():
    assert tool("amtool", "config", "routes", "test", "--config.file=alertmanager.yml", "alertname=New").split() == [
        "ticket"
    ]


def test_what_a_rule_records_is_used_by_its_name():
    recorded = {rule["record"] for rule in rules("record")}
    used = {name for rule in (*rules("record"), *rules("alert")) for name, _ in selectors(rule["expr"]) if ":" in name}
    assert used <= recorded
    assert groupings("sum by (a, b) (c) / on () d") == {"a", "b"}
