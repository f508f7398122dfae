"""Performance is scikit-learn's, on the predictions that count, by window, version and slice; kept while truth is."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from core.clock import epoch_seconds
from monitoring.performance import Performance, performance, stored_performance
from monitoring.truth import update_truth
from tests.monitoring.log_world import LogWorld, at
from training.evaluate import scores

DAY = timedelta(days=1)
THRESHOLD = 0.3


def fill(world: LogWorld, days: int = 2, a_day: int = 150, regions: int = 3) -> list[dict[str, Any]]:
    """Log predictions of two versions, with labels for all but the last ten of each day."""
    rng = np.random.default_rng(0)
    rows, spine = [], []
    for n in range(days * a_day):
        moment = at(24 * (n // a_day) + 1)
        probability = float(rng.uniform())
        label = int(rng.uniform() < probability)
        region = f"r{min(int(rng.integers(0, 2 * regions)), regions - 1):02d}"
        known = n % a_day < a_day - 10
        rows.append(
            {
                "prediction_id": f"{n:06d}",
                "predicted_at": moment,
                "entity": {"loan_id": n, "customer_id": 1},
                "probability": probability,
                "class": "missed" if probability >= THRESHOLD else "paid",
                "model_version": "9" if n % 3 else "10",
                "label": label,
                "region": region,
                "known": known,
            }
        )
        after = moment + timedelta(hours=1)
        spine.append(
            {
                "loan_id": n,
                "region": region,
                "event_timestamp": after,
                "missed": label,
                "label_timestamp": after if known else at(5000),
            }
        )
    names = ("label", "region", "known")
    world.log(*({k: v for k, v in row.items() if k not in names} for row in rows))
    world.spine(spine)
    world.now(at(24 * days))
    update_truth(world.repo)
    return rows


def by_hand(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the metrics of some rows, straight from scikit-learn."""
    known = [row for row in rows if row["known"]]
    y, p = np.array([r["label"] for r in known]), np.array([r["probability"] for r in known])
    measured = scores(y, p, THRESHOLD)
    names = ("auc", "average_precision", "brier", "log_loss", "f1", "precision", "recall")
    return {
        "rows": len(known),
        "positives": int(y.sum()),
        "waiting": len(rows) - len(known),
        **{name: pytest.approx(measured[name], abs=1e-12) for name in names},
    }


def told(one: Performance) -> dict[str, Any]:
    """Return what is measured, without what it is of."""
    return {k: v for k, v in one.as_dict().items() if k not in ("since", "until", "model_version", "slice")}


def test_it_is_scikit_learns_by_window_version_and_slice(log_world: LogWorld) -> None:
    rows = fill(log_world)
    found = performance(log_world.repo, at(0), at(48), step=DAY)
    assert [(p.since, p.model_version) for p in found if p.slice is None] == [
        (at(0), "9"), (at(0), "10"), (at(24), "9"), (at(24), "10"),
    ]  # fmt: skip
    for one in found:
        region = one.slice["region"] if one.slice else None
        own = [
            row
            for row in rows
            if one.since <= row["predicted_at"] < one.until
            and row["model_version"] == one.model_version
            and region in (None, row["region"])
        ]
        assert told(one) == by_hand(own)
    assert len([p for p in found if p.slice]) == 4 * 3


def test_one_version_can_be_asked_for(log_world: LogWorld) -> None:
    fill(log_world)
    everything = performance(log_world.repo, at(0), at(48), step=DAY)
    assert performance(log_world.repo, at(0), at(48), step=DAY, version="10") == [
        one for one in everything if one.model_version == "10"
    ]


def test_what_is_known_of_one_class_has_no_metrics(log_world: LogWorld) -> None:
    log_world.log({"prediction_id": "a", "predicted_at": at(1), "entity": {"loan_id": 1, "customer_id": 1}})
    log_world.log({"prediction_id": "b", "predicted_at": at(30), "entity": {"loan_id": 2, "customer_id": 1}})
    log_world.spine([{"loan_id": 1, "event_timestamp": at(2), "missed": 1, "label_timestamp": at(3)}])
    log_world.now(at(48))
    update_truth(log_world.repo)
    one, waits = (p for p in performance(log_world.repo, at(0), at(48), step=DAY) if p.slice is None)
    assert (one.rows, one.positives, one.waiting, one.auc, one.brier, one.f1) == (1, 1, 0, None, None, None)
    assert (waits.rows, waits.waiting, waits.auc) == (0, 1, None)
    json.dumps(one.as_dict(), allow_nan=False)


def test_slices_beyond_the_most_frequent_are_told_together(log_world: LogWorld) -> None:
    fill(log_world, days=1, a_day=600, regions=30)
    found = performance(log_world.repo, at(0), at(24), step=DAY, version="9")
    whole, slices = found[0], found[1:]
    assert [one.slice["region"] for one in slices if one.slice][-1] == "other"
    assert len(slices) == 21
    assert sum(one.rows for one in slices) == whole.rows
    sizes = [one.rows + one.waiting for one in slices[:-1]]
    assert sizes == sorted(sizes, reverse=True)


def test_it_is_kept_until_truth_changes(log_world: LogWorld) -> None:
    fill(log_world)
    found = performance(log_world.repo, at(0), at(48), step=DAY)
    assert stored_performance(log_world.repo) == found
    folder = log_world.repo.layout.monitoring / "performance"
    first, second = sorted(folder.glob("*.json"))
    past = epoch_seconds() - 100
    for path in (first, second):
        os.utime(path, (past, past))
    performance(log_world.repo, at(0), at(48), step=DAY)
    assert first.stat().st_mtime == second.stat().st_mtime == pytest.approx(past)
    log_world.log({"prediction_id": "z", "predicted_at": at(30), "entity": {"loan_id": 9999, "customer_id": 1}})
    update_truth(log_world.repo)
    again = performance(log_world.repo, at(0), at(48), step=DAY)
    assert first.stat().st_mtime == pytest.approx(past)
    assert second.stat().st_mtime > past + 50
    assert stored_performance(log_world.repo) == again != found


def test_part_of_a_step_is_computed_but_not_kept(log_world: LogWorld) -> None:
    fill(log_world)
    found = performance(log_world.repo, at(0), at(36), step=DAY)
    assert {one.until for one in found} == {at(24), at(36)}
    assert {one.until for one in stored_performance(log_world.repo)} == {at(24)}
    performance(log_world.repo, at(0) + timedelta(seconds=1), at(48), step=DAY)
    assert len({one.since for one in stored_performance(log_world.repo)}) == 1


def test_who_is_asked_about_again_waits_once(log_world: LogWorld) -> None:
    for n in range(3):
        for loan in (1, 2):  # the first has its row in the spine, the second is not in it yet
            log_world.log(
                {"prediction_id": f"{loan}{n}", "predicted_at": at(n), "entity": {"loan_id": loan, "customer_id": 1}}
            )
    log_world.spine([{"loan_id": 1, "event_timestamp": at(5), "missed": 1, "label_timestamp": at(500)}])
    log_world.now(at(24))
    assert update_truth(log_world.repo).waiting == 6
    (one,) = (p for p in performance(log_world.repo, at(0), at(24), step=DAY) if p.slice is None)
    assert (one.rows, one.waiting) == (0, 2)


def test_without_truth_there_is_nothing_to_measure(log_world: LogWorld) -> None:
    assert performance(log_world.repo, at(0), at(48), step=DAY) == []
    assert stored_performance(log_world.repo) == []
