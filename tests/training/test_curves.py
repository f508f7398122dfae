"""ROC and precision-recall curves: what can be worked out by hand, and no more points than promised."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from training.curves import POINTS, curves


def test_four_rows_give_the_curves_that_they_give_by_hand():
    # From the highest probability on: a positive, a negative, a positive, a negative.
    found = curves(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    assert found["roc"] == {
        "false_positive_rate": [0, 0, 0.5, 0.5, 1],
        "true_positive_rate": [0, 0.5, 0.5, 1, 1],
    }
    assert found["precision_recall"] == {
        "recall": [0, 0.5, 0.5, 1, 1],
        "precision": [1, 1, 0.5, pytest.approx(2 / 3, abs=1e-5), 0.5],
    }


def test_a_perfect_order_goes_through_the_corner():
    found = curves(np.array([0, 1, 0, 1]), np.array([0.2, 0.8, 0.3, 0.9]))
    assert (0, 1) in zip(*found["roc"].values(), strict=True)
    assert (1, 1) in zip(*found["precision_recall"].values(), strict=True)


def test_many_rows_give_few_points_that_say_the_same():
    rng = np.random.default_rng(5)
    probability = rng.random(20_000)
    y = (rng.random(20_000) < probability).astype(int)
    found = curves(y, probability)
    for curve in found.values():
        for values in curve.values():
            assert len(values) == POINTS
            assert 0 <= min(values) <= max(values) <= 1
    x, height = found["roc"].values()
    assert (x[0], height[0], x[-1], height[-1]) == (0, 0, 1, 1)
    assert x == sorted(x)
    assert height == sorted(height)
    assert np.trapezoid(height, x) == pytest.approx(roc_auc_score(y, probability), abs=0.002)
    recall, precision = found["precision_recall"].values()
    assert (recall[0], recall[-1]) == (0, 1)
    assert recall == sorted(recall)
    assert np.trapezoid(precision, recall) == pytest.approx(average_precision_score(y, probability), abs=0.01)


@pytest.mark.parametrize("only", [0, 1])
def test_a_single_class_has_no_curve(only: int):
    found = curves(np.full(3, only), np.array([0.1, 0.2, 0.3]))
    assert [values for curve in found.values() for values in curve.values()] == [[], [], [], []]
