"""ROC and precision-recall curves, with no more points than a picture needs."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

POINTS = 200


def curves(y: np.ndarray, probability: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """Return both curves of 0/1 labels and probabilities, both (n,).

    Returns
    -------
    dict
        ``roc``: ``false_positive_rate`` and ``true_positive_rate``; ``precision_recall``: ``recall`` and ``precision``.
        Each is a list of at most 200 shares, from the highest threshold to the lowest, the ends among them; empty where
        only one class occurs. Definitions are scikit-learn's.
    """
    if len(np.unique(y)) < 2:
        roc = pr = (np.empty(0), np.empty(0))
    else:
        roc = roc_curve(y, probability)[:2]
        precision, recall, _ = precision_recall_curve(y, probability, drop_intermediate=True)
        pr = (recall[::-1], precision[::-1])
    return {
        "roc": dict(zip(("false_positive_rate", "true_positive_rate"), map(_thinned, roc), strict=True)),
        "precision_recall": dict(zip(("recall", "precision"), map(_thinned, pr), strict=True)),
    }


def _thinned(values: np.ndarray) -> list[float]:
    if len(values) > POINTS:
        values = values[np.linspace(0, len(values) - 1, POINTS).round().astype(int)]
    return [float(value) for value in values.round(5)]
