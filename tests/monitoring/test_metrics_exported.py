"""Every metric that a rule, a panel or the documentation names is one that the services export, and with these labels.

The services are real, one after the other in this process: each is started, used, and asked for its metrics.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import ingestion.service
import monitoring.service
import training.service
from core.database import database
from core.files import write_json
from core.settings import get_settings
from core.windows import Window
from ingestion.metrics import freshness_gauges
from monitoring.alarms import Alarms
from monitoring.metrics import due_gauges
from stores.connection import connect
from stores.registry import apply, open_store
from tests.asgi import Api
from tests.core.jobs.world import until
from tests.core.keys import accounts_of
from tests.monitoring.metrics_text import Metrics
from tests.monitoring.promql import groupings, rules, selectors
from tests.monitoring.test_grafana import queries
from tests.serving import world as worlds
from tests.serving.world import World, key_for, settings_of

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs" / "monitoring.md"
# What Prometheus itself adds to a series, or makes of a target.
_ITS_OWN = {"up": {"job", "instance"}}
_ALWAYS = {"job", "instance"}
AGE = timedelta(days=3)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    get_settings()
    built = worlds.build(tmp_path_factory.mktemp("exported") / "loans")
    # Payments of a minute ago are old here, so that some predictions are made with old ones.
    definitions = built.folder / "definitions.py"
    definitions.write_text(definitions.read_text().replace('"freshness": "30d"', '"freshness": "1m"'))
    apply(built.repo)
    for version in ("1", "2"):  # the second is the challenger
        model = built.model
        model.metadata |= {"version": version, "trained_until": (built.repo.clock.now() - AGE).isoformat()}
        model.save(built.repo.layout.models / version)
    write_json(built.repo.layout.models / "challenger.json", {"name": built.repo.problem.name, "version": "2"})
    _turn(built)
    yield built
    built.server.stop()


def _turn(world: World) -> None:
    """Keep what a turn keeps."""
    repo = world.repo
    until = repo.clock.now()
    window = Window(until - timedelta(days=7), until)
    report = "20240223T000000Z_20240301T000000Z-v1"
    moved = {"effect": 0.31, "drifted": True}
    features = [{"name": "hour", **moved}, {"name": "region", "effect": None, "drifted": False}]
    drift = {"id": report, "model_version": "1", "verdict": "drift", "share": 0.5}
    write_json(
        repo.layout.monitoring / "drift" / report / "report.json",
        {**drift, "features": features, "prediction": {"name": "probability", **moved}},
    )
    scores = {"auc": 0.7, "average_precision": 0.4, "brier": 0.2, "log_loss": 0.5, "f1": None, "precision": None}
    whole = {"model_version": "1", "slice": None, "rows": 90, "waiting": 10, "recall": None, **scores}
    write_json(
        repo.layout.monitoring / "turns" / f"{window.id}.json",
        {
            "until": until.isoformat(),
            "performance": {
                "windows": [{**whole, "rows": 0, "auc": None}],
                "measured": [{**whole, "until": (until - timedelta(days=7)).isoformat()}],
            },
            "drift": {**drift, "drifted": ["hour"]},
            "freshness": {"views": [], "missing": {"hour": 0.25}},
            "skew": {
                "rows": 90,
                "values": 500,
                "unexplained": {"hour": 2},
                "left_out": {"all of the feature service older": 7},
                "sampled": {"rows": 40, "values": 90, "unexplained": {"region": 1}},
            },
        },
    )
    store = database(repo, settings_of(repo))
    Alarms(store, repo.problem.name).raise_alarm("performance", "auc", "It is low.", at=until, value=0.7, threshold=0.8)
    store.close()


@pytest.fixture(scope="module")
def told(world: World) -> dict[str, Metrics]:
    """Give what each service tells."""
    repo, found = world.repo, {}
    key = key_for(repo, "read", "predict", "data")
    few = accounts_of(repo, settings_of(repo)).keys.create("few", ["read"], owner="tests", rate_limit="1/minute")[0]
    with worlds.service(repo, shadow_share=1.0) as api:
        for _ in range(3):
            api.get("/models/available", headers={"authorization": f"Bearer {few}"})
        answer = api.predict(*({"loan_id": day * 100} for day in range(20)))
        assert answer.status_code == 200, answer.text
        nobody = api.predict({"loan_id": 0, "customer_id": 999_999})  # has no payments
        assert nobody.status_code == 200, nobody.text
        until(lambda: Metrics.of(api)("punctual_shadow_total", outcome="scored"), "the challenger")
        found["prediction"] = Metrics.of(api)
    builds = {
        "data": ingestion.service.build_app,
        "training": training.service.build_app,
        "monitoring": monitoring.service.build_app,
    }
    for name, build in builds.items():
        with Api(build(repo, settings_of(repo, monitor_schedule="0 5 * * *"))) as api:
            api.show(key)
            if name == "data":
                job = api.post("/data/validate").json()["id"]
                assert api.post(f"/jobs/{job}/cancel").status_code == 200
            found[name] = Metrics.of(api)
    return found


@pytest.fixture(scope="module")
def exported(told: dict[str, Metrics]) -> dict[str, set[str]]:
    """Give the label names of each name that a query can ask for."""
    names = dict(_ITS_OWN)
    for metrics in told.values():
        for family in metrics.families.values():
            for name in _series(family.name, family.type):
                names[name] = names.get(name, set()) | metrics.labels(name) | _ALWAYS
    return names


def _series(name: str, kind: str) -> list[str]:
    if kind == "histogram":
        return [f"{name}{part}" for part in ("_bucket", "_sum", "_count")]
    return [f"{name}_total"] if kind == "counter" else [name]


def test_each_service_tells_of_what_is_its_own(told: dict[str, Metrics]):
    for name, metrics in told.items():
        assert metrics("punctual_memory_bytes", service=name) > 0
        assert not [s for s in metrics.samples if s.name == "punctual_gauges_failing" and s.value], name
        if name != "prediction":
            assert metrics("punctual_jobs", service=name, status="queued") == 0
    prediction, data = told["prediction"], told["data"]
    assert prediction("punctual_model_age_seconds", version="1") == AGE.total_seconds()
    assert prediction("punctual_batch_size_count") >= 1
    assert prediction.values("punctual_jobs", "kind") == {"predict"}
    assert data.values("punctual_view_age_seconds", "view") == {"customer_payments", "loan_terms"}
    assert all(s.value >= 0 for s in data.samples if s.name == "punctual_view_age_seconds")
    assert data("punctual_windows", layer="valid") == 1
    assert data("punctual_window_end_timestamp_seconds", layer="raw") == data("punctual_clock_timestamp_seconds")


def test_the_monitoring_service_tells_of_the_last_turn(told: dict[str, Metrics]):
    metrics = told["monitoring"]
    assert metrics("punctual_drift_detected", version="1") == 1
    assert metrics("punctual_drift_score", feature="hour") == 0.31
    assert metrics.values("punctual_drift_score", "feature") == {"hour"}  # of region nothing could be told
    assert metrics("punctual_drift_drifted", feature="region") == 0
    assert metrics("punctual_performance", version="1", metric="auc") == 0.7
    assert metrics.values("punctual_performance", "metric") == {"auc", "average_precision", "brier", "log_loss"}
    assert metrics("punctual_performance_rows", version="1") == 90
    ends = metrics("punctual_performance_end_timestamp_seconds", version="1")
    assert ends == metrics("punctual_turn_end_timestamp_seconds") - timedelta(days=7).total_seconds()
    assert metrics("punctual_performance_waiting", version="1") == 10
    assert metrics("punctual_missing_rate", feature="hour") == 0.25
    assert metrics("punctual_skew_differences") == 2
    assert metrics("punctual_skew_left_out", what="all of the feature service older") == 7
    assert metrics("punctual_skew_sampled_rows") == 40
    assert metrics("punctual_skew_sampled_differences", feature="region") == 1
    assert metrics("punctual_alarms_open", kind="performance") == 1
    assert metrics("punctual_alarms_open", kind="drift") == 0


def test_the_next_turn_is_due_when_the_schedule_says_so_after_the_last_one(world: World):
    def due(since: datetime) -> datetime:
        ((sample,),) = [family.samples for family in due_gauges(world.repo, "0 5 * * *", since)]
        return datetime.fromtimestamp(sample.value, UTC)

    (kept,) = (world.repo.layout.monitoring / "turns").glob("*.json")
    moment = datetime(2030, 5, 6, 7, 30, tzinfo=UTC)
    os.utime(kept, (moment.timestamp(), moment.timestamp()))
    assert due(datetime(2031, 1, 1, tzinfo=UTC)) == datetime(2030, 5, 7, 5, tzinfo=UTC)
    content = kept.read_bytes()
    kept.unlink()
    try:  # none was taken yet: from the start of the service on
        assert due(datetime(2031, 1, 1, tzinfo=UTC)) == datetime(2031, 1, 1, 5, tzinfo=UTC)
    finally:
        kept.write_bytes(content)


def test_an_online_store_that_lost_everything_is_told_view_by_view(told: dict[str, Metrics], world: World):
    views = {"customer_payments", "loan_terms"}
    assert told["data"].values("punctual_view_empty", "view") == views
    assert not [s for s in told["data"].samples if s.name == "punctual_view_empty" and s.value]
    connect(open_store(world.repo).config).flushall()
    try:
        emptied = {f.name: f.samples for f in freshness_gauges(world.repo)}
    finally:
        world.fill()
    assert {s.labels["view"]: s.value for s in emptied["punctual_view_empty"]} == dict.fromkeys(views, 1.0)
    assert emptied["punctual_view_age_seconds"] == []


@pytest.mark.parametrize("what", ["rules", "panels"])
def test_every_query_asks_for_what_is_exported(exported: dict[str, set[str]], what: str):
    known = dict(exported)
    for rule in rules("record"):
        asked = [known.get(name, set()) for name, _ in selectors(rule["expr"])]
        known[rule["record"]] = set().union(*asked, rule.get("labels", {}))
    expressions = queries() if what == "panels" else [r["expr"] for r in (*rules("record"), *rules("alert"))]
    assert len(expressions) > 20
    for expression in expressions:
        labels: set[str] = set()
        for name, picked in selectors(expression):
            assert name in known, f"nothing exports {name}, which this asks for: {expression}"
            missing = picked - known[name]
            assert not missing, f"{name} has no label {missing}, by which this picks: {expression}"
            labels |= known[name]
        assert groupings(expression) <= labels, f"it groups by labels that there are not: {expression}"


def test_the_documentation_lists_what_is_exported_and_nothing_else(told: dict[str, Metrics]):
    families = {f.name: f.type for m in told.values() for f in m.families.values() if f.name.startswith("punctual_")}
    ours = {f"{name}_total" if kind == "counter" else name for name, kind in families.items()}
    ours -= {name for name in ours if name.endswith("_created") or name.startswith("punctual_test_")}
    listed = set()
    for line in DOCS.read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0].splitlines():
        if line.startswith("| `punctual_"):
            listed |= set(re.findall(r"`(punctual_\w+)`", line.split("|")[1]))
    assert listed == ours, json.dumps({"not listed": sorted(ours - listed), "not there": sorted(listed - ours)})
