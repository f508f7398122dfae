"""Labels that come weeks later, and those that are corrected: real turns, one after the other, see them all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.files import write_json
from core.model import HEADER
from core.settings import Settings
from monitoring.metrics import turn_gauges
from monitoring.performance import Performance, refresh_performance, stored_performance
from monitoring.tasks import Here
from monitoring.watch import turn
from tests.monitoring import drift_world
from tests.monitoring.drift_world import START, WEEK
from tests.monitoring.log_world import LogWorld

A_WEEK = 700  # predictions
DELAY = timedelta(days=10)  # longer than a turn's window


class Quick(Here):
    """Draws no page of a drift report."""

    def task(self, name: str, **arguments: Any) -> dict[str, Any]:
        return super().task(name, **arguments, **({"page": False} if name == "drift" else {}))


@dataclass
class Life:
    """The loans of three weeks, a model, and labels that come after ten days."""

    world: LogWorld
    settings: Settings
    spine: list[dict[str, Any]]

    def turn(self, week: int) -> dict[str, Any]:
        """Take the turn at the end of a week."""
        until = START + week * WEEK
        self.world.now(until)
        repo = self.world.repo
        return turn(repo, self.settings, until - WEEK, until, act=False, runner=Quick(repo, self.settings))

    def week(self, number: int) -> Performance:
        """Return what is stored of a week as a whole."""
        since = START + (number - 1) * WEEK
        (found,) = [
            one
            for one in stored_performance(self.world.repo)
            if one.since == since and one.until == since + WEEK and one.slice is None
        ]
        return found


@pytest.fixture
def life(log_world: LogWorld, tmp_path: Path) -> Iterator[Life]:
    """Give three weeks of predictions; labels of the first are the wrong way round for half of the loans."""
    settings = Settings(database=f"sqlite:///{tmp_path}/punctual.db", _env_file=None)
    models = log_world.repo.layout.models
    shutil.rmtree(models, ignore_errors=True)
    drift_world.install(models)
    write_json(models / "1" / HEADER, {"metadata": {"trained_until": (START - WEEK).isoformat()}})
    spine = []
    for week in range(3):
        since = START + week * WEEK
        rows = drift_world.traffic(A_WEEK, seed=week, since=since)
        moments = [since + (n + 1) * WEEK / (A_WEEK + 1) for n in range(A_WEEK)]
        names = [f.name for f in drift_world.FEATURES]
        log_world.log(
            *(
                {
                    "prediction_id": f"{week}{n:07d}",
                    "predicted_at": moments[n],
                    "probability": row[drift_world.SCORE],
                    "features": {name: row[name] for name in names},
                    "entity": {"loan_id": week * A_WEEK + n, "customer_id": 1},
                }
                for n, row in enumerate(rows.to_pylist())
            )
        )
        label = rows.column("label").to_numpy()
        wrong = np.random.default_rng(week).random(A_WEEK) < (0.5 if week == 0 else 0)
        spine += [
            {
                "loan_id": week * A_WEEK + n,
                "event_timestamp": moments[n] + timedelta(minutes=1),
                "missed": int(1 - label[n] if wrong[n] else label[n]),
                "label_timestamp": moments[n] + DELAY,
            }
            for n in range(A_WEEK)
        ]
    log_world.spine(spine)
    yield Life(log_world, settings, spine)
    shutil.rmtree(models)


def exported(life: Life) -> dict[str, float]:
    """Return the gauges of the last turn that have no label but the version and AUC."""
    return {
        sample.name: sample.value
        for family in turn_gauges(life.world.repo)
        for sample in family.samples
        if sample.labels.get("metric", "auc") == "auc"
    }


def test_labels_that_take_longer_than_a_window_reach_what_is_kept_the_drift_report_and_the_metrics(life: Life):
    first = life.turn(1)
    assert (life.week(1).rows, life.week(1).waiting) == (0, A_WEEK)
    assert first["drift"]["performance"] is None
    assert "punctual_performance" not in exported(life)

    second = life.turn(2)  # labels of the first four days
    assert 0 < life.week(1).rows < A_WEEK
    assert life.week(1).waiting == A_WEEK - life.week(1).rows
    assert life.week(2).rows == 0
    assert second["performance"]["refreshed"] > 1  # its days, too
    measured = exported(life)
    assert measured["punctual_performance"] == life.week(1).auc
    assert measured["punctual_performance_rows"] == life.week(1).rows
    assert measured["punctual_performance_end_timestamp_seconds"] == (START + WEEK).timestamp()

    third = life.turn(3)  # all of the first week, and four days of the second
    assert (life.week(1).rows, life.week(1).waiting) == (A_WEEK, 0)
    assert life.week(1).auc == pytest.approx(0.5, abs=0.06)
    assert life.week(2).auc is not None
    # The newest week with labels ends with the eleventh day: four of its days are of the bad one.
    judged = third["drift"]["performance"]
    assert judged["rows"] == pytest.approx(A_WEEK, abs=2)
    assert [moment[:9] for moment in judged["window"].split("_")] == ["20240304T", "20240311T"]
    assert "the newest that have them" in judged["words"]
    assert judged["drifted"]
    assert ("performance", "auc") in {(row["kind"], row["subject"]) for row in third["alarms"]["opened"]}
    assert third["truth"]["new"] == life.week(1).rows + life.week(2).rows


def test_corrected_labels_reach_what_was_kept_long_ago_and_touch_nothing_else(life: Life):
    for week in (1, 2, 3):
        life.turn(week)
    before = {n: life.week(n) for n in (1, 2, 3)}
    right = drift_world.traffic(A_WEEK, seed=0).column("label").to_pylist()
    for row, label in zip(life.spine[:A_WEEK], right, strict=True):
        row["missed"] = label
    life.world.spine(life.spine)
    found = life.turn(3)
    assert found["truth"]["written"] == [f"2024-03-{day:02d}" for day in range(1, 8)]
    assert life.week(1).auc > before[1].auc + 0.1
    assert (life.week(1).rows, life.week(1).waiting) == (A_WEEK, 0)
    assert {n: life.week(n) for n in (2, 3)} == {n: before[n] for n in (2, 3)}
    assert refresh_performance(life.world.repo) == []


def test_labels_in_time_are_those_of_the_window_itself(life: Life):
    for row in life.spine:
        row["label_timestamp"] -= DELAY - timedelta(hours=1)
    life.world.spine(life.spine)
    found = life.turn(2)["drift"]["performance"]
    assert found["window"] is None
    assert found["rows"] == life.week(2).rows > A_WEEK - 10
    assert not found["drifted"]
