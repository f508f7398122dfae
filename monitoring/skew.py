"""Is what is served what was trained on? Online values against the point-in-time values of the same moment.

Two comparisons, both value by value:

- *sampled*: entities drawn from the feature rows; what the online store holds now against the offline store as of now.
- *logged*: vectors in the prediction log, as the model saw them, rebuilt offline as of the moment of the prediction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


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
    differences : list of Difference
        Every value that differs.
    """

    rows: int = 0
    values: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, other: SkewReport) -> None:
        """Take in the findings of another comparison."""
        self.rows += other.rows
        self.values += other.values
        self.differences += other.differences


def same(left: Any, right: Any) -> bool:
    """Whether two feature values are equal; missing equals missing, NaN counts as missing."""
    if _missing(left) or _missing(right):
        return _missing(left) and _missing(right)
    if isinstance(left, float) or isinstance(right, float):
        # Feast's Float32 and Float64 pass through different widths: one part in 10^6 is the same value.
        return math.isclose(float(left), float(right), rel_tol=1e-6, abs_tol=1e-9)
    return bool(left == right)


def compare(
    labels: Iterable[str],
    online: Mapping[str, Sequence[Any]],
    offline: Mapping[str, Sequence[Any]],
    features: Sequence[str],
) -> SkewReport:
    """Compare two sets of columns row by row.

    Parameters
    ----------
    labels : iterable of str
        What to call each row in the report, ``n`` of them.
    online, offline : mapping of str to sequence
        Columns of ``n`` values each.
    features : sequence of str
        The columns to compare.
    """
    report = SkewReport()
    for i, label in enumerate(labels):
        report.rows += 1
        for name in features:
            report.values += 1
            if not same(online[name][i], offline[name][i]):
                report.differences.append(Difference(label, name, online[name][i], offline[name][i]))
    return report


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
