"""How far some rows lie from others in one column: the bins that they are counted in, and an index of the counts.

The population stability index is ``sum((c - r) * ln(c / r))`` over the shares ``r`` of the reference and ``c`` of the
other rows in each bin (Siddiqi, Credit Risk Scorecards, 2006). Between two samples of one distribution it is above
zero, by ``(bins - 1) * (1/m + 1/n)`` on average; that is taken off, so that few rows do not look far for being few.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.reference import as_category

BINS = 10
FEW_VALUES = 10  # so many different numbers, or fewer, are counted one by one, as categories are
MOST_CATEGORIES = 1_000
MIN_SHARE = 0.01  # categories that are rarer in the reference are counted together
FLOOR = 1e-4  # the least share of a bin: an empty one would make the index infinite


def describe(kind: str, column: pa.ChunkedArray) -> dict[str, Any]:
    """Return how the values of a column spread.

    Parameters
    ----------
    kind : {"numeric", "categorical"}
        What they are to the model.
    column : pyarrow.ChunkedArray
        n values; null, NaN and infinity are missing numbers.

    Returns
    -------
    dict
        ``kind``, ``missing`` (share of the rows), ``top`` (share of the values that the commonest has), and either
        ``edges`` (upper bounds of all bins but the last) with ``counts`` (a bin), or ``values`` (a value as text, to
        its count) with ``others`` (how many values are not among them).
    """
    values = present(kind, column)
    there = len(values)
    counts = pc.value_counts(values.combine_chunks()).field("counts")
    top = pc.max(counts).as_py() / there if there else 0.0
    about = {"kind": kind, "missing": 1 - there / len(column) if len(column) else 0.0, "top": top}
    if kind == "categorical" or len(counts) <= FEW_VALUES:
        found = sorted(value_counts(values).items(), key=lambda c: (-c[1], c[0]))
        return {**about, "values": dict(found[:MOST_CATEGORIES]), "others": sum(n for _, n in found[MOST_CATEGORIES:])}
    # A bin ends with the value at its quantile, so that a value which is very common has a bin of its own.
    edges = np.unique(np.quantile(values.to_numpy(), np.arange(1, BINS) / BINS, method="lower"))
    described = {**about, "edges": edges.tolist()}
    return {**described, "counts": np.bincount(bins_of(described, values), minlength=len(edges) + 1).tolist()}


def present(kind: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values that are there: numbers as float64, categories as they are."""
    values = column.filter(pa.array(is_present(kind, column)))
    return pc.cast(values, pa.float64()) if kind == "numeric" else values


def is_present(kind: str, column: pa.ChunkedArray) -> np.ndarray:
    """Say of each row whether it has a value: neither null nor NaN, and no infinity where numbers are asked for."""
    if kind == "numeric":
        return np.isfinite(pc.cast(column, pa.float64()).to_numpy())
    return pc.invert(pc.is_null(column, nan_is_null=True)).to_numpy()


def bins_of(description: Mapping[str, Any], values: pa.ChunkedArray) -> np.ndarray:
    """Return the number of each value's bin, for values as :func:`present` gives them.

    Common categories have a bin each; one more holds those that are rare in the reference, and the last one those
    that it does not have, unless it has too many to tell.
    """
    if "edges" in description:
        return np.searchsorted(description["edges"], values.to_numpy(), side="left")
    place = {value: i for i, value in enumerate(_common(description))}
    rare = len(place)
    place |= {value: rare for value in description["values"] if value not in place}
    new = rare if description["others"] else rare + 1
    coded = values.combine_chunks().dictionary_encode()
    bins = np.array([place.get(as_category(v), new) for v in coded.dictionary.to_pylist()], dtype=np.intp)
    return bins[coded.indices.to_numpy()]


def reference_counts(description: Mapping[str, Any]) -> np.ndarray:
    """Return how many values of the reference each bin of :func:`bins_of` holds."""
    if "counts" in description:
        return np.array(description["counts"])
    common = [description["values"][v] for v in _common(description)]
    rare = sum(description["values"].values()) + description["others"] - sum(common)
    return np.array([*common, rare] if description["others"] else [*common, rare, 0])


def _common(description: Mapping[str, Any]) -> list[str]:
    total = sum(description["values"].values()) + description["others"]
    return [value for value, count in description["values"].items() if count >= MIN_SHARE * total]


def stability_index(reference: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the population stability index of counts (..., bins), less its mean under no change; at least zero.

    Where there are no counts at all, it is zero.
    """
    m, n = reference.sum(), counts.sum(axis=-1)
    r = np.maximum(reference / max(m, 1), FLOOR)
    c = np.maximum(counts / np.maximum(n, 1)[..., None], FLOOR)
    used = ((reference > 0) | (counts > 0)).sum(axis=-1)
    chance = (used - 1) * (1 / max(m, 1) + 1 / np.maximum(n, 1))
    return np.where((n > 0) & (m > 0), np.maximum(((c - r) * np.log(c / r)).sum(axis=-1) - chance, 0.0), 0.0)


def value_counts(values: pa.ChunkedArray) -> dict[str, int]:
    """Return value, as text, to how often it is there."""
    return {as_category(c["values"]): int(c["counts"]) for c in pc.value_counts(values.combine_chunks()).to_pylist()}
