"""How good a model is: ranking, probabilities, decisions, and each of them by slice.

AUC and average precision judge the order, Brier score and log loss the probabilities, F1, precision and recall the
decisions at the threshold. Definitions are scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from core.problem import Cost

if TYPE_CHECKING:
    from core.model import PredictionModel

MIN_SLICE = 200
LOWER_IS_BETTER = frozenset({"brier", "log_loss"})


# By probability alone: what a promotion gate can compare two models by.
RANKED: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "auc": roc_auc_score,
    "average_precision": average_precision_score,
    "brier": brier_score_loss,
    "log_loss": lambda y, p: log_loss(y, p, labels=[0, 1]),
}


def scores(y: np.ndarray, probability: np.ndarray, threshold: float) -> dict[str, float]:
    """Return every metric for 0/1 labels and probabilities, both (n,).

    Where only one class occurs, the metrics by probability are NaN.
    """
    called = (probability >= threshold).astype(int)
    both = len(np.unique(y)) == 2
    return {
        **{name: float(metric(y, probability)) if both else float("nan") for name, metric in RANKED.items()},
        "f1": float(f1_score(y, called, zero_division=0)),
        "precision": float(precision_score(y, called, zero_division=0)),
        "recall": float(recall_score(y, called, zero_division=0)),
        "positive_share": float(np.mean(y)),
        "called_share": float(np.mean(called)),
        "rows": float(len(y)),
    }


def by_slice(
    columns: Mapping[str, Sequence[Any]], y: np.ndarray, probability: np.ndarray, threshold: float
) -> list[dict[str, Any]]:
    """Return the metrics of every value of every slice column that has at least 200 rows, largest first."""
    out = []
    for name, values in columns.items():
        array = np.array([str(v) for v in values], dtype=object)
        for value, count in sorted(zip(*np.unique(array, return_counts=True), strict=True), key=lambda v: -v[1]):
            if count >= MIN_SLICE:
                rows = array == value
                out.append({"slice": name, "value": value, **scores(y[rows], probability[rows], threshold)})
    return out


def calibrate(raw: np.ndarray, y: np.ndarray, bins: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return knots of a monotone map from raw to calibrated probabilities, learned on the validation part.

    Isotonic regression on quantile bins: as many rows stand behind every knot, so that no knot hangs on a few
    rows. Between knots the map is linear.
    """
    bins = max(2, min(bins, len(raw) // 50))
    order = np.argsort(raw, kind="stable")
    groups = np.array_split(order, bins)
    x = np.array([raw[g].mean() for g in groups])
    share = np.array([y[g].mean() for g in groups])
    weight = np.array([len(g) for g in groups])
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit_transform(
        x, share, sample_weight=weight
    )
    knots, first = np.unique(x, return_index=True)
    # No probability is certain: the ends stay within half a row of a group.
    edge = 0.5 / weight.max()
    return knots, np.clip(fitted[first], edge, 1 - edge)


def best_threshold(cost: Cost) -> float:
    """Return the calibrated probability from which on calling the positive class costs less.

    Calling it costs ``(1 - p) * false_positive``, not calling it ``p * false_negative``; they are equal here.
    """
    return cost.false_positive / (cost.false_positive + cost.false_negative)


def calibration(y: np.ndarray, probability: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """Return predicted and observed shares of up to ``bins`` groups of equal size."""
    observed, predicted = calibration_curve(y, probability, n_bins=bins, strategy="quantile")
    return [{"predicted": float(p), "observed": float(o)} for p, o in zip(predicted, observed, strict=True)]


def importance(model: PredictionModel, matrix: np.ndarray, y: np.ndarray, most: int = 5000) -> list[dict[str, Any]]:
    """Return how much AUC falls when one input is shuffled, on at most ``most`` rows; the largest first."""
    rng = np.random.default_rng(0)
    rows = rng.choice(len(y), min(len(y), most), replace=False)
    x, labels = matrix[rows], y[rows]
    if len(np.unique(labels)) < 2:
        return []
    whole = roc_auc_score(labels, model.score(x))
    out = []
    for i, feature in enumerate(model.features):
        shuffled = x.copy()
        shuffled[:, i] = rng.permutation(shuffled[:, i])
        out.append({"feature": feature.name, "importance": float(whole - roc_auc_score(labels, model.score(shuffled)))})
    return sorted(out, key=lambda item: -item["importance"])


def better(metric: str, left: float, right: float) -> float:
    """Return by how much ``left`` is better than ``right``; negative where it is worse."""
    return right - left if metric in LOWER_IS_BETTER else left - right
