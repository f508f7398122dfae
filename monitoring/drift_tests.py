"""The tests of one column: whether its distribution has moved, by how much, beyond chance; whether values are missing.

How much is the population stability index of ``training.stability``. Beyond chance: Kolmogorov-Smirnov for numbers,
chi-square for categories and for numbers that take few values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from training.stability import bins_of, present, reference_counts, stability_index, value_counts

Aspect = Literal["values", "missing", "unknown"]
ASPECTS: tuple[Aspect, ...] = ("values", "missing", "unknown")
MIN_VALUES = 50  # with fewer, nothing is said of how they spread
NEW_SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """What was measured of one column, before it is known how many columns there are.

    Attributes
    ----------
    test : str
        What the values were tested with.
    effects, p_values : dict
        Stability index and p-value of what could be tested: how the *values* spread, what share of the rows is
        *missing*, and what share of the values is of a category that is *unknown* to the reference.
    missing, unknown : float
        Shares of the rows.
    new : list of str
        The unknown categories, the commonest first.
    only : str, optional
        The one value that all rows with a value hold.
    """

    test: str
    effects: dict[Aspect, float]
    p_values: dict[Aspect, float]
    missing: float
    unknown: float = 0.0
    new: list[str] = field(default_factory=list)
    only: str | None = None


def measure(about: Mapping[str, Any], rows: int, sample: pa.ChunkedArray, current: pa.ChunkedArray) -> Finding:
    """Compare a column of a window with the reference.

    Parameters
    ----------
    about : mapping
        The column's description in :class:`core.reference.Reference`, counted over ``rows`` rows.
    sample, current : pyarrow.ChunkedArray
        The column in the reference's sample and in the window, n > 0 rows: float64 or string, null for missing.
    """
    values = present(about["kind"], current)
    total, there, there_before = len(current), len(values), rows - round(about["missing"] * rows)
    effects: dict[Aspect, float] = {}
    p_values: dict[Aspect, float] = {}

    def compare(aspect: Aspect, before: np.ndarray, now: np.ndarray) -> None:
        effects[aspect] = float(stability_index(before, now))
        p_values[aspect] = chi_square(before, now)

    compare("missing", np.array([there_before, rows - there_before]), np.array([there, total - there]))
    found = value_counts(values) if "values" in about else {}
    # Only a complete list of categories can say that one is not on it.
    new = []
    if about["kind"] == "categorical" and not about["others"]:
        new = sorted(found.keys() - about["values"].keys(), key=lambda v: (-found[v], v))
    unknown = sum(found[v] for v in new)
    if unknown:
        compare("unknown", np.array([there_before, 0]), np.array([there - unknown, unknown]))
    test = "too few values"
    if min(there, there_before) >= MIN_VALUES:
        before = reference_counts(about)
        compare("values", before, np.bincount(bins_of(about, values), minlength=len(before)))
        test = "PSI, chi-square"
        if "edges" in about:
            test = "PSI, Kolmogorov-Smirnov"
            p_values["values"] = kolmogorov_smirnov(sample.drop_null().to_numpy(), values.to_numpy())
    distinct = values.unique()
    only = str(distinct[0].as_py()) if len(distinct) == 1 and there >= MIN_VALUES else None
    return Finding(test, effects, p_values, 1 - there / total, unknown / total, new[:NEW_SHOWN], only)


def chi_square(reference: np.ndarray, current: np.ndarray) -> float:
    """Return how probable it is that two sets of counts (bins,) come from one distribution."""
    from scipy.stats import chi2_contingency

    table = np.array([reference, current])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return 1.0
    return float(chi2_contingency(table).pvalue)


def kolmogorov_smirnov(reference: np.ndarray, current: np.ndarray) -> float:
    """Return how probable it is that two samples (k,) and (n,) come from one continuous distribution."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(reference, current, method="asymp").pvalue)


def adjust(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Benjamini and Hochberg, 1995), in the same order.

    Of those that then lie below alpha, a share of at most alpha is expected to be there by chance.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    ranked = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return [float(value) for value in adjusted]
