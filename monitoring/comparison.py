"""Compares feature values online and offline, and counts what differs, by feature."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_SHOWN = 1_000  # differences that a report keeps in full
Explain = Callable[[int, str, Any], str | None]


@dataclass(frozen=True)
class Difference:
    """One value that is not the same online and offline."""

    where: str
    feature: str
    online: Any
    offline: Any

    def __str__(self) -> str:
        return f"{self.where}: {self.feature} is {self.online!r} online, {self.offline!r} offline"


@dataclass
class SkewReport:
    """What a comparison found.

    Attributes
    ----------
    rows, values : int
        How many rows and single values were compared.
    by_feature : Counter
        Feature -> how many of its values differ without an explanation.
    explained : Counter
        Reason, in words -> how many values differ for it: what a policy or the client wanted.
    left_out : Counter
        What there is nothing offline to compare with, in words -> how many predictions have it.
    differences : list of Difference
        The first 1,000 of those without an explanation.
    """

    rows: int = 0
    values: int = 0
    by_feature: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    @property
    def unexplained(self) -> int:
        """How many values differ without an explanation."""
        return self.by_feature.total()

    def found(self, difference: Difference) -> None:
        """Take in a value that differs without an explanation."""
        self.by_feature[difference.feature] += 1
        if len(self.differences) < MOST_SHOWN:
            self.differences.append(difference)

    def add(self, other: SkewReport) -> None:
        """Take in the findings of another comparison."""
        self.rows += other.rows
        self.values += other.values
        self.by_feature += other.by_feature
        self.explained += other.explained
        self.left_out += other.left_out
        self.differences += other.differences[: MOST_SHOWN - len(self.differences)]


def same(left: Any, right: Any) -> bool:
    """Whether two feature values are equal; missing equals missing, NaN counts as missing."""
    if is_missing(left) or is_missing(right):
        return is_missing(left) and is_missing(right)
    if isinstance(left, float) or isinstance(right, float):
        # Feast's Float32 and Float64 pass through different widths: one part in 10^6 is the same value.
        return math.isclose(float(left), float(right), rel_tol=1e-6, abs_tol=1e-9)
    return bool(left == right)


def is_missing(value: Any) -> bool:
    """Whether a feature value is none: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def compare(
    labels: Iterable[str],
    online: Mapping[str, Sequence[Any]],
    offline: Mapping[str, Sequence[Any]],
    features: Sequence[str],
    explain: Explain | None = None,
) -> SkewReport:
    """Compare two sets of columns value by value.

    Parameters
    ----------
    labels : iterable of str
        What to call each row in the report, ``n`` of them.
    online, offline : mapping of str to sequence
        Columns of ``n`` values each.
    features : sequence of str
        The columns to compare.
    explain : callable, optional
        Told row, feature and online value of a difference, it gives the reason, or None where there is none.
    """
    names = list(labels)
    report = SkewReport(rows=len(names), values=len(names) * len(features))
    for feature in features:
        left, right = online[feature], offline[feature]
        if left == right:  # nearly always, and far faster than looking at each
            continue
        for i, name in enumerate(names):
            if same(left[i], right[i]):
                continue
            if reason := explain(i, feature, left[i]) if explain else None:
                report.explained[reason] += 1
            else:
                report.found(Difference(name, feature, left[i], right[i]))
    return report
