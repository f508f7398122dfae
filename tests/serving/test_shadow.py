"""The challenger scores beside the champion: on the same features, in a bounded queue, and never in the way."""

from __future__ import annotations

import threading
import weakref
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from prometheus_client import REGISTRY

from core.model import Feature, PredictionModel
from serving.metrics import PredictionMetrics
from serving.shadow import SCHEMA, Shadow
from tests.serving.test_log import eventually, parts
from tests.serving.test_reload import champion, second
from tests.serving.world import World, service

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


class Column(list[float]):
    """A list that can be looked after."""


class Estimator:
    """Says what it is given, once it may."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        self.gate.wait(10)
        if matrix[0, 0] > 1:
            raise ValueError("not that")
        return np.stack([1 - matrix[:, 0], matrix[:, 0]], axis=1)


def challenger(estimator: Any, *names: str) -> PredictionModel:
    features = [Feature(name, "numeric") for name in names or ("risk",)]
    straight = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    return PredictionModel(features, estimator, straight, 0.5, ("paid", "missed"), {"version": "9"})


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("punctual_shadow_total", {"outcome": outcome}) or 0.0


def offer(shadow: Shadow, name: str, risk: float) -> None:
    shadow.offer([name], 1, [0.0, 0.25], {"risk": [0.0, risk]}, NOW, "1", "anna")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for part in parts(folder) for row in pq.read_table(part).to_pylist()]


def test_what_was_picked_is_scored_on_what_the_champion_was_given(tmp_path: Path) -> None:
    shadow = Shadow(tmp_path, 1.0, PredictionMetrics())
    shadow.use(challenger(Estimator()))
    offer(shadow, "a", 0.5)
    offer(shadow, "b", 0.75)
    shadow.close()
    got = rows(tmp_path)
    assert [(r["prediction_id"], r["probability"], r["champion_probability"]) for r in got] == [
        ("a", 0.5, 0.25),
        ("b", 0.75, 0.25),
    ]
    assert {(r["champion_version"], r["challenger_version"], r["predicted_at"]) for r in got} == {("1", "9", NOW)}
    assert {r["actor"] for r in got} == {"anna"}
    assert pq.read_schema(parts(tmp_path)[0]).equals(SCHEMA)


def test_without_a_challenger_or_with_the_champion_itself_nothing_is_scored(tmp_path: Path) -> None:
    shadow = Shadow(tmp_path, 1.0, PredictionMetrics())
    offer(shadow, "a", 0.5)
    same = challenger(Estimator())
    same.metadata["version"] = "1"
    shadow.use(same)
    offer(shadow, "b", 0.5)
    shadow.close()
    assert rows(tmp_path) == []


def test_a_share_is_picked(tmp_path: Path) -> None:
    shadow = Shadow(tmp_path, 0.2, PredictionMetrics(), capacity=10_000)
    shadow.use(challenger(Estimator()))
    for i in range(5_000):
        offer(shadow, f"{i}", 0.5)
    shadow.close()
    assert 800 < len(rows(tmp_path)) < 1200


def test_what_it_cannot_keep_up_with_is_dropped_and_counted(tmp_path: Path) -> None:
    before, scored, estimator = counted("dropped"), counted("scored"), Estimator()
    estimator.gate.clear()
    shadow = Shadow(tmp_path, 1.0, PredictionMetrics(), capacity=10)
    shadow.use(challenger(estimator))
    for i in range(100):
        offer(shadow, f"{i}", 0.5)
    dropped = counted("dropped") - before
    assert dropped == 100 - 10
    estimator.gate.set()
    eventually(lambda: counted("scored") == scored + 10)
    offer(shadow, "later", 0.5)
    shadow.close()
    assert len(rows(tmp_path)) == 10 + 1


def test_what_waits_is_bounded_by_rows_and_holds_no_others(tmp_path: Path) -> None:
    dropped, estimator = counted("dropped"), Estimator()
    estimator.gate.clear()
    shadow = Shadow(tmp_path, 1.0, PredictionMetrics(), capacity=300)
    shadow.use(challenger(estimator))
    shared = []
    for i in range(10):  # 40 of the 100 rows that were answered together, and one column of two
        scores, columns = Column([0.25] * 100), {"risk": Column([0.5] * 100), "other": Column([0.5] * 100)}
        shared += [weakref.ref(scores), *(weakref.ref(column) for column in columns.values())]
        shadow.offer([f"{i}-{n}" for n in range(40)], 60, scores, columns, NOW, "1")
    del scores, columns
    assert counted("dropped") - dropped == 3 * 40
    assert [one() for one in shared] == [None] * 30
    estimator.gate.set()
    shadow.close()
    assert len(rows(tmp_path)) == 7 * 40


def test_a_request_that_is_larger_than_what_may_wait_is_scored_by_itself(tmp_path: Path) -> None:
    shadow = Shadow(tmp_path, 1.0, PredictionMetrics(), capacity=10)
    shadow.use(challenger(Estimator()))
    shadow.offer([f"{n}" for n in range(40)], 0, [0.25] * 40, {"risk": [0.5] * 40}, NOW, "1")
    shadow.close()
    assert len(rows(tmp_path)) == 40


def test_features_that_are_not_there_and_failures_are_counted(tmp_path: Path) -> None:
    lacking, failed = counted("no_features"), counted("failed")
    shadow = Shadow(tmp_path, 1.0, PredictionMetrics())
    shadow.use(challenger(Estimator(), "risk", "shoe_size"))
    offer(shadow, "a", 0.5)
    eventually(lambda: counted("no_features") == lacking + 1)
    shadow.use(challenger(Estimator()))
    offer(shadow, "b", 7.0)
    eventually(lambda: counted("failed") == failed + 1)
    offer(shadow, "c", 0.5)
    shadow.close()
    assert [row["prediction_id"] for row in rows(tmp_path)] == ["c"]


@pytest.mark.parametrize("count", [1, 3])
def test_live_requests_are_scored_by_the_challenger(own_world: World, count: int) -> None:
    own_world.fill()
    model = second(own_world)
    champion(own_world, "2", role="challenger")
    with service(own_world.repo, shadow_share=1.0) as api:
        assert api.get("/health").json()["dependencies"]["challenger"]["version"] == "2"
        entities = [{"loan_id": 3000 + i} for i in range(count)]
        answers = [p for _ in range(2) for p in api.predict(*entities).json()["predictions"]]
        api.post("/predict", json={"entities": entities, "what_if": True})
        told = {p["prediction_id"]: api.get(f"/predictions/{p['prediction_id']}").json() for p in answers}
    got = {row["prediction_id"]: row for row in rows(own_world.folder / "data" / "shadow")}
    assert got.keys() == told.keys(), "a what-if is not scored again"
    assert {row["actor"] for row in got.values()} == {"key:tests"}
    for prediction_id, row in got.items():
        assert row["champion_probability"] == told[prediction_id]["probability"]
        features = {name: [value] for name, value in told[prediction_id]["features"].items()}
        assert row["probability"] == model.predict_proba(features)[0]
        assert (row["champion_version"], row["challenger_version"]) == ("1", "2")


def test_a_challenger_that_cannot_be_loaded_is_told_of_and_changes_nothing(own_world: World) -> None:
    own_world.fill()
    champion(own_world, "77", role="challenger")
    with service(own_world.repo, shadow_share=1.0) as api:
        told = api.get("/health").json()["dependencies"]["challenger"]
        assert told["status"] == "degraded"
        assert "77" in told["detail"]
        assert api.predict({"loan_id": 3000}).status_code == 200
