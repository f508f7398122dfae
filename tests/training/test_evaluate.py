"""Metrics by hand, honest calibration, and a threshold that costs least."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from core.problem import Cost
from training.evaluate import best_threshold, better, by_slice, calibrate, calibration, scores

Y = np.array([0, 0, 1, 1])
P = np.array([0.1, 0.6, 0.5, 0.9])


def test_metrics_are_those_worked_out_by_hand():
    found = scores(Y, P, 0.55)
    # Of the four pairs one is in the wrong order; called are rows 1 and 3, of which one is positive.
    assert found["auc"] == pytest.approx(3 / 4)
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.25 + 0.01) / 4)
    assert found["log_loss"] == pytest.approx(-(math.log(0.9) + math.log(0.4) + math.log(0.5) + math.log(0.9)) / 4)
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)
    assert (found["positive_share"], found["called_share"], found["rows"]) == (0.5, 0.5, 4)


def test_a_probability_at_the_threshold_is_called():
    assert scores(Y, P, 0.5)["recall"] == 1.0


@pytest.mark.parametrize("label", [0, 1])
def test_with_one_class_only_what_judges_probabilities_is_not_a_number(label):
    found = scores(np.full(4, label), P, 0.5)
    assert all(math.isnan(found[name]) for name in ("auc", "average_precision", "brier", "log_loss"))
    assert found["recall"] == label * 0.75
    assert found["positive_share"] == label


def test_slices_count_every_large_value_of_every_column():
    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 2, 1000), rng.random(1000)
    town = ["north"] * 600 + ["south"] * 399 + [None]
    shop = [7] * 999 + [8]
    found = by_slice({"town": town, "shop": shop}, y, p, 0.5)
    assert [(s["slice"], s["value"], s["rows"]) for s in found] == [
        ("town", "north", 600),
        ("town", "south", 399),
        ("shop", "7", 999),
    ]
    assert found[0]["auc"] == scores(y[:600], p[:600], 0.5)["auc"]


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and probabilities that are far too sure of themselves."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.05, 0.6, count)
    return (rng.random(count) < truth).astype(int), 1 / (1 + np.exp(-4 * np.log(truth / (1 - truth))))


def test_calibration_mends_probabilities_on_rows_it_never_saw():
    y, raw = drawn(8000, 1)
    knots = calibrate(raw, y)
    y, raw = drawn(8000, 2)
    mended = np.interp(raw, *knots)
    assert log_loss(y, mended) < log_loss(y, raw) - 0.05
    assert all(abs(p["predicted"] - p["observed"]) < 0.05 for p in calibration(y, mended))


@given(
    rows=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=2, max_size=400),
)
def test_calibration_never_turns_two_rows_around_nor_is_certain(rows):
    raw, y = np.array([r for r, _ in rows]), np.array([label for _, label in rows])
    x, mended = calibrate(raw, y)
    assert (np.diff(x) > 0).all()
    assert (np.diff(mended) >= -1e-12).all()
    assert ((mended > 0) & (mended < 1)).all()


@pytest.mark.parametrize(("false_positive", "false_negative"), [(1, 1), (1, 3), (5, 1), (0.2, 0.9)])
def test_no_other_threshold_costs_less(false_positive, false_negative):
    rng = np.random.default_rng(1)
    p = rng.random(200_000)
    y = rng.random(200_000) < p  # perfectly calibrated
    chosen = best_threshold(Cost(false_positive=false_positive, false_negative=false_negative))

    def cost(threshold: float) -> float:
        called = p >= threshold
        return false_positive * (called & ~y).sum() + false_negative * (~called & y).sum()

    assert cost(chosen) <= min(cost(t) for t in np.linspace(0.02, 0.98, 49)) * 1.002


@pytest.mark.parametrize("metric", ["brier", "log_loss"])
def test_less_loss_is_better(metric):
    assert better(metric, 0.1, 0.3) == pytest.approx(0.2)


@pytest.mark.parametrize("metric", ["auc", "average_precision", "f1"])
def test_more_of_the_rest_is_better(metric):
    assert better(metric, 0.8, 0.7) == pytest.approx(0.1)
