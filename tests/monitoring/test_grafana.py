"""The dashboards that Grafana loads are those that are described, and each of their queries is good PromQL."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.monitoring.promql import MONITORING
from tests.monitoring.test_prometheus_rules import tool

GRAFANA = MONITORING / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_dashboards", GRAFANA / "make_dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def panels() -> list[tuple[str, dict[str, Any]]]:
    return [(path.stem, panel) for path in FILES for panel in json.loads(path.read_text())["panels"]]


def queries() -> list[str]:
    """Return every query of every panel."""
    return [target["expr"] for _, panel in panels() for target in panel["targets"]]


def test_what_is_committed_is_what_is_described():
    made = generator().files()
    assert {path: path.read_text() for path in FILES} == made, "run deploy/monitoring/grafana/make_dashboards.py"
    assert {path.stem for path in FILES} == {"api", "model", "resources", "services"}


def test_panels_use_the_provisioned_source_and_do_not_overlap():
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    taken: set[tuple[str, int, int]] = set()
    for board, panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            assert (board, x, place["y"]) not in taken, panel["title"]
            taken.add((board, x, place["y"]))
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == {"type": source["type"], "uid": source["uid"]}
            assert target["legendFormat"]
    ids = [json.loads(path.read_text())["uid"] for path in FILES]
    assert len(set(ids)) == len(ids)


def test_every_query_is_good_promql(tmp_path: Path):
    recorded = [{"record": f"test:query:{i}", "expr": query} for i, query in enumerate(queries())]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    assert f"{len(recorded)} rules found" in tool("promtool", "check", "rules", path)
    path.write_text(yaml.safe_dump({"groups": [{"name": "bad", "rules": [{"record": "a", "expr": "sum(("}]}]}))
    with pytest.raises(AssertionError, match="parse"):
        tool("promtool", "check", "rules", path)
