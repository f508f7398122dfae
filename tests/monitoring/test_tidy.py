"""Merging the log changes no row, whenever it is killed; what is too old goes, and nothing else."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from monitoring import tidy as tidying
from monitoring.logged import count_logged, logged
from monitoring.parts import parts
from monitoring.tidy import tidy
from monitoring.truth import read_truth, update_truth
from serving.lineage import find
from serving.log import PredictionIds
from tests.monitoring.log_world import START, LogWorld, at

DAY = "2030-01-01"
LATER = datetime(2030, 1, 3, 12, tzinfo=UTC)
EVER = (START - timedelta(days=1), START + timedelta(days=30))
HOUR = timedelta(hours=1)


def fill(world: LogWorld, count: int = 6, day: str = DAY) -> list[Path]:
    """Log parts of two predictions each, every third of before what-ifs were told apart."""
    return [
        world.log(
            *(
                {"prediction_id": f"{day[-2:]}{2 * n + i:030x}", "predicted_at": at(n), "what_if": i == 1}
                for i in (0, 1)
            ),
            day=day,
            old=n % 3 == 2,
        )
        for n in range(count)
    ]


def clean(world: LogWorld, now: datetime = LATER, **kept: Any) -> dict[str, Any]:
    return tidy(world.repo, Settings(**kept), now)


def age(world: LogWorld, until: datetime) -> None:
    """Let every part be as old as a moment."""
    for path in world.repo.layout.predictions.rglob("*.parquet"):
        os.utime(path, (until.timestamp(), until.timestamp()))


def files(world: LogWorld) -> list[str]:
    return sorted(path.name for path in world.repo.layout.predictions.rglob("*.parquet"))


def rows(world: LogWorld) -> list[dict[str, Any]]:
    return sorted(logged(world.repo, *EVER).to_pylist(), key=lambda row: str(row["prediction_id"]))


def test_parts_of_a_day_that_is_over_become_one_with_the_same_rows(log_world: LogWorld):
    written, before = fill(log_world), rows(log_world)
    assert clean(log_world)["merged"] == len(written)
    assert len(parts(log_world.repo.layout)) == 1
    assert rows(log_world) == before
    assert count_logged(log_world.repo, *EVER) == len(before) == 8  # two of each old part, one of each other
    assert all(path.exists() for path in written)  # somebody may be reading them
    age(log_world, LATER)
    assert clean(log_world, LATER + 2 * HOUR)["deleted"] == len(written)
    assert len(files(log_world)) == 1
    assert rows(log_world) == before
    assert clean(log_world, LATER + 4 * HOUR) == {"merged": 0, "deleted": 0, "days": 0, "pages": 0}


def test_a_day_that_is_not_over_is_left_alone(log_world: LogWorld):
    fill(log_world)
    assert clean(log_world, datetime(2030, 1, 2, 0, 59, tzinfo=UTC))["merged"] == 0
    assert clean(log_world, datetime(2030, 1, 2, 1, 1, tzinfo=UTC))["merged"] == 6


def test_killed_while_parts_are_deleted_no_row_comes_back(log_world: LogWorld):
    written, before = fill(log_world), rows(log_world)
    clean(log_world)
    written[3].unlink()
    assert rows(log_world) == before
    age(log_world, LATER)
    clean(log_world, LATER + 2 * HOUR)
    assert rows(log_world) == before


def test_killed_while_it_merges_nothing_has_changed(log_world: LogWorld, monkeypatch: pytest.MonkeyPatch):
    fill(log_world)
    before, there = rows(log_world), files(log_world)

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            clean(log_world)
    assert (rows(log_world), files(log_world)) == (before, there)
    assert clean(log_world)["merged"] == 6


def test_a_part_that_comes_late_is_taken_in_by_the_next(log_world: LogWorld):
    fill(log_world)
    clean(log_world)
    log_world.log({"prediction_id": "01" + "f" * 30, "predicted_at": at(9)}, day=DAY)
    before = rows(log_world)
    assert len(before) == 9
    age(log_world, LATER)
    merged = log_world.repo.layout.predictions / parts(log_world.repo.layout)[0].name
    assert clean(log_world)["merged"] == 2  # the merged one and the late one
    assert rows(log_world) == before
    merged.unlink()  # before those that it stood for: what it was merged into stands for them too
    assert rows(log_world) == before
    age(log_world, LATER)
    assert clean(log_world, LATER + 2 * HOUR)["deleted"] == 7
    assert rows(log_world) == before
    assert len(files(log_world)) == 1


def test_many_parts_are_merged_in_portions(log_world: LogWorld, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tidying, "_TOGETHER", 4)
    fill(log_world, 9)
    before = rows(log_world)
    assert clean(log_world)["merged"] == 8
    assert len(parts(log_world.repo.layout)) == 3
    assert rows(log_world) == before


def test_truth_is_what_it_was(log_world: LogWorld):
    log_world.spine(
        [{"loan_id": n, "event_timestamp": at(n), "missed": n % 2, "label_timestamp": at(n + 1)} for n in range(4)]
    )
    for n in range(4):
        keys = {"loan_id": n, "customer_id": 1}
        log_world.log({"prediction_id": f"{n:032x}", "predicted_at": at(n), "entity": keys}, day=DAY)
    log_world.now(at(48))
    update_truth(log_world.repo)
    before = read_truth(log_world.repo, *EVER).to_pylist()
    assert len(before) == 4
    clean(log_world)
    update_truth(log_world.repo)
    assert read_truth(log_world.repo, *EVER).to_pylist() == before


def test_a_prediction_is_found_by_its_id_as_before(log_world: LogWorld):
    prediction_id = PredictionIds().next(1)[0]
    day = PredictionIds.date_of(prediction_id)
    assert day is not None
    # (No other test of this world writes a header of version 9, without which there is no lineage to compare.)
    log_world.log({"prediction_id": prediction_id, "predicted_at": at(1), "model_version": "9"}, day=day)
    log_world.log({"prediction_id": "0" * 32, "predicted_at": at(1)}, day=day)
    before = find(log_world.repo.layout, prediction_id)
    over = datetime.fromisoformat(f"{day}T12:00:00+00:00") + timedelta(days=1)
    assert clean(log_world, over)["merged"] == 2
    age(log_world, over)
    assert clean(log_world, over + 2 * HOUR)["deleted"] == 2
    assert find(log_world.repo.layout, prediction_id) == before


def test_the_log_is_kept_for_as_long_as_is_said(log_world: LogWorld):
    fill(log_world, day="2029-12-01")
    fill(log_world)
    assert clean(log_world)["days"] == 0  # for ever
    assert clean(log_world, keep_log_days=30)["days"] == 1
    assert {part.name[:10] for part in parts(log_world.repo.layout)} == {DAY}


def test_pages_of_old_reports_go_and_their_figures_stay(log_world: LogWorld):
    folder = log_world.repo.layout.monitoring / "drift" / "20240301T000000Z_20240308T000000Z-v1"
    folder.mkdir(parents=True)
    for name in ("report.html", "report.json"):
        (folder / name).write_text("{}")
        os.utime(folder / name, (LATER.timestamp(), LATER.timestamp()))
    assert clean(log_world, LATER + timedelta(days=89))["pages"] == 0
    assert clean(log_world, LATER + timedelta(days=91))["pages"] == 1
    assert [path.name for path in folder.iterdir()] == ["report.json"]
