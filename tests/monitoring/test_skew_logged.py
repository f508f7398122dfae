"""Every logged vector is rebuilt offline; what differs is counted and named, what was meant to differ is explained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring import skew
from monitoring.rebuild import SENT, WITHHELD
from monitoring.skew import check_logged
from tests.serving.world import World, service

LOANS = [{"loan_id": day * 100 + n} for day in range(0, 60, 4) for n in range(2)]


@pytest.fixture
def world(served: World) -> Iterator[World]:
    """Give a served repo whose log a test may write, and spoil."""
    yield served
    shutil.rmtree(served.repo.layout.predictions, ignore_errors=True)


def predict(world: World, entities: list[dict[str, Any]]) -> None:
    """Predict through the service; its stop writes the log."""
    with service(world.repo) as api:
        assert api.predict(*entities).status_code == 200


def spoil(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    """Change every logged vector."""
    for part in world.repo.layout.predictions.glob("*/*.parquet"):
        table = pq.read_table(part)
        vectors = [json.loads(text) for text in table.column("features").to_pylist()]
        for vector in vectors:
            change(vector)
        column = pa.array([json.dumps(vector) for vector in vectors])
        pq.write_table(table.set_column(table.column_names.index("features"), "features", column), part)


def test_what_was_served_is_what_history_says(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    predict(world, LOANS)
    report = check_logged(world.repo)
    assert (report.rows, report.unexplained, report.explained) == (len(LOANS), 0, {})
    # Six inputs, and the customer and the amount that were looked up; the amount as such is no input.
    assert report.values == len(LOANS) * (6 + 2)
    monkeypatch.setattr(skew, "_TOGETHER", 7)
    assert check_logged(world.repo) == report


def test_windows_and_the_newest(world: World) -> None:
    predict(world, LOANS)
    now = world.repo.clock.now()
    later = now + timedelta(microseconds=1)
    assert check_logged(world.repo, since=now, until=later).rows == len(LOANS)
    assert check_logged(world.repo, since=later).rows == check_logged(world.repo, until=now).rows == 0
    assert check_logged(world.repo, 5).rows == 5
    assert check_logged(world.repo, 5, since=now).rows == 5


def test_what_differs_is_counted_by_feature_and_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(vector: dict[str, Any]) -> None:
        vector["hour"] += 1
        vector["region"] = "east" if vector["region"] == "north" else vector["region"]

    monkeypatch.setattr("monitoring.comparison.MOST_SHOWN", 5)
    predict(world, LOANS)
    spoil(world, change)
    report = check_logged(world.repo)
    assert report.by_feature["hour"] == len(LOANS)
    assert 0 < report.by_feature["region"] < len(LOANS)
    assert report.unexplained == report.by_feature.total()
    assert len(report.differences) == 5
    assert str(report.differences[0]).startswith("prediction ")


def test_what_ifs_are_not_rebuilt(world: World) -> None:
    with service(world.repo) as api:
        tried = {"entities": [{"loan_id": 100, "amount": 1e6}] * 3, "what_if": True}
        assert api.post("/predict", json=tried).status_code == 200
    assert check_logged(world.repo).rows == 0
    predict(world, LOANS[:4])
    report = check_logged(world.repo)
    assert (report.rows, report.unexplained, report.explained) == (4, 0, {})
    assert check_logged(world.repo, 100).rows == 4


def test_what_the_client_sent_is_explained_and_what_hangs_on_it_rebuilt(world: World) -> None:
    predict(world, [{"loan_id": 100, "customer_id": 59, "amount": 1.0}, {"loan_id": 101, "amount": 2.0}, *LOANS[2:6]])
    report = check_logged(world.repo)
    assert (report.rows, report.unexplained, report.explained) == (6, 0, {SENT: 3})


def test_what_a_policy_withheld_is_explained(world: World, tmp_path: Path) -> None:
    def change(text: str) -> str:
        return text.replace('{"freshness": "30d", "stale": "flag"}', '{"freshness": "1h", "stale": "missing"}')

    strict = world.copy_to(tmp_path / "loans", change=change)
    predict(strict, LOANS)
    report = check_logged(strict.repo)
    assert report.unexplained == 0
    assert report.explained[WITHHELD] > len(LOANS)
    spoil(strict, lambda vector: vector.update(missed_30d=77))  # withheld, and yet another value than history has
    assert check_logged(strict.repo).by_feature == {"missed_30d": len(LOANS)}


def test_predictions_of_another_feature_service_are_left_out(world: World) -> None:
    predict(world, LOANS[:2])
    (part,) = world.repo.layout.predictions.glob("*/*.parquet")
    table = pq.read_table(part)
    at = table.column_names.index("feature_service")
    pq.write_table(table.set_column(at, "feature_service", pa.array(["older"] * 2)), part)
    assert check_logged(world.repo).rows == 0
