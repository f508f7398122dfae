"""Metrics of samples drawn anew from the same rows, by how often each row was drawn: a sort once, not once a sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# From how often each row was drawn, (n,), to the sample's metric.
OfCounts = Callable[[np.ndarray], float]
RESAMPLES = 200


def metric_of_counts(metric: str, y: np.ndarray, probability: np.ndarray) -> OfCounts:
    """Return a function that gives a metric of ``evaluate.RANKED`` for rows that count several times, or not at all.

    Parameters
    ----------
    metric : str
        ``auc``, ``average_precision``, ``brier`` or ``log_loss``.
    y, probability : arrays (n,)
        0/1 labels and probabilities.
    """
    if metric == "brier":
        return _mean_of((probability - y) ** 2)
    if metric == "log_loss":
        edge = np.finfo(probability.dtype).eps
        p = np.clip(probability, edge, 1 - edge)
        return _mean_of(-np.where(y == 1, np.log(p), np.log(1 - p)))
    # Rows of the same probability stand or fall together.
    values, place = np.unique(probability, return_inverse=True)

    def classes(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        positive = np.bincount(place, counts * y, minlength=len(values))
        return positive, np.bincount(place, counts, minlength=len(values)) - positive

    def auc(counts: np.ndarray) -> float:
        positive, negative = classes(counts)
        pairs = positive.sum() * negative.sum()
        below = np.cumsum(negative) - negative / 2
        return float(positive @ below / pairs) if pairs else float("nan")

    def average_precision(counts: np.ndarray) -> float:
        positive, negative = (c[::-1] for c in classes(counts))
        if not positive.sum():
            return float("nan")
        right, called = np.cumsum(positive), np.cumsum(positive + negative)
        precision = np.divide(right, called, out=np.zeros_like(right), where=called > 0)
        return float(positive @ precision / positive.sum())

    return {"auc": auc, "average_precision": average_precision}[metric]


def standard_error(
    metric: str, y: np.ndarray, probability: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[float, float]:
    """Return a metric and its standard error, from 200 samples of whole groups, drawn anew.

    Parameters
    ----------
    metric, y, probability
        See :func:`metric_of_counts`.
    groups : array (n,)
        Rows of one group stand or fall together: those of one day share its weather, and count for less than as many
        of different days.
    seed : int
        Of the samples.
    """
    of_counts = metric_of_counts(metric, y, probability)
    return of_counts(np.ones(len(y))), float(np.nanstd(resampled(of_counts, groups, seed)))


def resampled(of_counts: OfCounts, groups: np.ndarray, seed: int, count: int = RESAMPLES) -> list[float]:
    """Return the metric of each of ``count`` samples of whole ``groups`` (n,), drawn anew."""
    rng = np.random.default_rng(seed)
    names, place = np.unique(groups, return_inverse=True)
    k = len(names)
    return [of_counts(np.bincount(rng.integers(0, k, k), minlength=k)[place]) for _ in range(count)]


def _mean_of(loss: np.ndarray) -> OfCounts:
    return lambda counts: float(counts @ loss / counts.sum())
