"""What is kept of the training snapshot beside a model, for drift to be measured against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.reference import MOST_ROWS, SCORE, Reference, as_drift_column
from training.dataset import EVENT
from training.resample import metric_of_counts, standard_error
from training.stability import bins_of, describe, is_present, present, reference_counts, stability_index

if TYPE_CHECKING:
    from core.model import Feature, PredictionModel
    from training.data import Prepared

MEASURED = ("auc", "brier")
MIN_DAYS = 7
LENGTHS = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "28d": timedelta(days=28),
}
MIN_WINDOWS = 20  # of one length: fewer do not show how far windows usually lie from the whole
MIN_WINDOW_ROWS = 50
MIN_MEASURED = 5
USUAL = 0.99


def reference_of(model: PredictionModel, data: Prepared, seed: int) -> Reference:
    """Describe the snapshot that a model was made from: all its rows, with the model's own score of each.

    Parameters
    ----------
    model : PredictionModel
        As it will be served.
    data : Prepared
        The snapshot; the metrics to keep are those of its test part.
    seed : int
        Of the sample, and of the resampling behind the standard errors.
    """
    score = model.score(data.matrix)
    test = data.parts.test
    lineage = {name: model.metadata.get(name) for name in ("snapshot", "run_id", "test_from")}
    moments = data.rows.column(EVENT)
    measures = measured(data.y[test], score[test], moments.take(pa.array(test)), seed)
    return build_reference(data.rows, model.features, score, seed, {**lineage, "test": measures})


def measured(y: np.ndarray, probability: np.ndarray, moments: pa.ChunkedArray, seed: int) -> dict[str, Any]:
    """Return how good n probabilities were: AUC and Brier score, and how much they vary from window to window.

    Quiet days are easy to predict and hard to rank, bad days the other way round: from week to week both metrics vary
    several times more than as many independent rows would make them.

    Returns
    -------
    dict
        ``rows``, ``positives``; ``auc``, ``brier``; ``auc_error``, ``brier_error``: standard errors, days drawn anew
        (rows, where there are fewer than seven days); ``windows``: for each length of which the period holds at
        least five, ``count`` and, a metric, ``mean`` and ``deviation``.
    """
    found: dict[str, Any] = {"rows": len(y), "positives": int(y.sum())}
    for name in MEASURED:
        found[name], found[f"{name}_error"] = value_and_error(name, y, probability, moments, seed)
    by_length = {name: _by_window(y, probability, _block(moments, length)) for name, length in LENGTHS.items()}
    return {**found, "windows": {length: by for length, by in by_length.items() if by["count"] >= MIN_MEASURED}}


def value_and_error(
    metric: str, y: np.ndarray, probability: np.ndarray, moments: pa.ChunkedArray, seed: int
) -> tuple[float, float]:
    """Return a metric and its standard error: days drawn anew, or rows where there are fewer than seven days."""
    days = _block(moments, timedelta(days=1))
    groups = days if len(np.unique(days)) >= MIN_DAYS else np.arange(len(y))
    return standard_error(metric, y, probability, groups, seed)


def value_of(metric: str, y: np.ndarray, probability: np.ndarray) -> float:
    """Return a metric of n labels and probabilities."""
    return metric_of_counts(metric, y, probability)(np.ones(len(y)))


def _by_window(y: np.ndarray, probability: np.ndarray, window: np.ndarray) -> dict[str, Any]:
    order = np.argsort(window, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(window[order])) + 1)
    parts = [part for part in parts if len(part) >= MIN_WINDOW_ROWS and 0 < y[part].sum() < len(part)]
    out: dict[str, Any] = {"count": len(parts)}
    for name in MEASURED if len(parts) > 1 else ():
        each = [value_of(name, y[part], probability[part]) for part in parts]
        out[name] = {"mean": float(np.mean(each)), "deviation": float(np.std(each, ddof=1))}
    return out


def build_reference(
    rows: pa.Table, features: Sequence[Feature], score: np.ndarray, seed: int, about: Mapping[str, Any] | None = None
) -> Reference:
    """Describe rows and their scores, and draw a sample of them.

    Parameters
    ----------
    rows : pyarrow.Table
        n rows: ``event_timestamp``, and a column a feature.
    features : sequence of Feature
        Which columns to describe, and as what.
    score : array (n,)
        The model's calibrated probability of each row.
    seed : int
        Of the sample.
    about : mapping, optional
        What else the profile shall say.
    """
    windows = _windows(rows.column(EVENT))
    scores = pa.chunked_array([pa.array(score, pa.float64())])
    chosen = np.sort(np.random.default_rng(seed).choice(len(score), min(len(score), MOST_ROWS), replace=False))
    drawn = rows.take(pa.array(chosen))
    sample = {f.name: as_drift_column(f, drawn.column(f.name).to_pylist()) for f in features}
    profile = {
        **(about or {}),
        "rows": len(score),
        "windows": {length: int(kept.sum()) for length, (_, kept) in windows.items()},
        "features": [_column(f.name, f.kind, rows.column(f.name), windows) for f in features],
        "score": _column(SCORE, "numeric", scores, windows),
    }
    return Reference(profile, pa.table({**sample, SCORE: pa.array(score[chosen], pa.float64())}))


def usual_length(known: Iterable[str], length: timedelta) -> str | None:
    """Return which of the lengths that are known to compare a window of this length with; None if there are none.

    The longest that is not longer, else the shortest: short windows lie farther from the whole than long ones do.
    """
    ordered = sorted(known, key=LENGTHS.__getitem__)
    shorter = [name for name in ordered if LENGTHS[name] <= length]
    return shorter[-1] if shorter else ordered[0] if ordered else None


def _windows(moments: pa.ChunkedArray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Cut the period into windows of each length: which one each row is in, and which of them have enough rows."""
    out = {}
    for name, length in LENGTHS.items():
        window = _block(moments, length)
        kept = np.bincount(window) >= MIN_WINDOW_ROWS
        if kept.sum() >= MIN_WINDOWS:
            out[name] = window, kept
    return out


def _block(moments: pa.ChunkedArray, length: timedelta) -> np.ndarray:
    """Return the number of the stretch of time that each moment is in, counted from the first."""
    micros = pc.cast(pc.cast(moments, pa.timestamp("us", tz="UTC")), pa.int64()).to_numpy()
    return (micros - micros.min(initial=micros[0])) // (length // timedelta(microseconds=1))


def _column(name: str, kind: str, column: pa.ChunkedArray, windows: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a column, and how far windows of the period usually lie from the whole of it."""
    about = describe(kind, column)
    values = present(kind, column)
    there, bins, counts = is_present(kind, column), bins_of(about, values), reference_counts(about)
    codes = values.combine_chunks().dictionary_encode().indices.to_numpy()
    usual = {
        length: _usual(window[there], np.bincount(window), kept, bins, counts, codes)
        for length, (window, kept) in windows.items()
    }
    return {"name": name, **about, "usual": usual}


def _usual(
    window: np.ndarray, rows: np.ndarray, kept: np.ndarray, bins: np.ndarray, counts: np.ndarray, codes: np.ndarray
) -> dict[str, Any]:
    """Return how far windows of the period lie from the whole: in their values, and in what is missing.

    Parameters
    ----------
    window, bins, codes : arrays (v,)
        Of each value that is there: its window, its bin, and a number for the value itself.
    rows, kept : arrays (w,)
        Rows of each window, and whether they are enough.
    counts : array (bins,)
        The whole.
    """
    w, k = len(rows), len(counts)
    by_bin = np.bincount(window * k + bins, minlength=w * k).reshape(w, k)
    there = by_bin.sum(axis=1)
    missing = np.stack([there, rows - there], axis=1)
    enough = kept & (there >= MIN_WINDOW_ROWS)
    values = stability_index(counts, by_bin[enough])
    one = np.zeros(w, dtype=codes.dtype)
    one[window] = codes  # some value of each window: where no other differs, it stands still
    differing = np.bincount(window, codes != one[window], minlength=w)
    return {
        "values": float(np.quantile(values, USUAL, method="higher")) if len(values) else 0.0,
        "missing": float(stability_index(missing.sum(axis=0), missing[kept]).max()),
        "still": bool((differing[enough] == 0).any()),
    }
