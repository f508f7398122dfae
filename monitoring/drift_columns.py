"""What the measurements of all columns mean together: which drifted, which are broken, and that in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from monitoring.drift_tests import ASPECTS, Aspect, Finding, adjust

if TYPE_CHECKING:
    from core.problem import Drift

FROZEN_TOP = 0.5  # where the commonest value has more of the reference, a window full of it is nothing new
_MARGIN = 1.5  # the windows of one training period are few: the next may well lie farther out than any of them
_WORTH_SAYING = 0.0005  # a share that is not shown as 0.0 %


@dataclass(frozen=True)
class ColumnDrift:
    """What the tests found of one feature, or of the predictions.

    Attributes
    ----------
    name, kind, test : str
        The column, ``numeric`` or ``categorical``, and the tests of its values.
    effect, threshold : float or None, float
        How far the distribution moved (population stability index, less what chance alone gives), and from where on
        that is much.
    p_value, adjusted_p : float or None
        How probable such a move is by chance; adjusted for the number of columns.
    drifted : bool
        The effect reaches the threshold and the adjusted p lies below alpha; or the column is broken.
    missing_reference, missing_current : float
        Shares of the rows without a value.
    missing_jump, unknown_jump, frozen : bool
        Clearly more values are missing than in the reference; clearly many are categories that it does not have;
        there is one value where it has many.
    ignored : bool
        problem.yaml says that the values of this feature move by themselves: they do not count.
    new_categories : list of str
        Categories that the reference does not have, the commonest first.
    words : str
        The same in a sentence.
    """

    name: str
    kind: str
    test: str
    effect: float | None
    threshold: float
    p_value: float | None
    adjusted_p: float | None
    drifted: bool
    missing_reference: float
    missing_current: float
    missing_jump: bool = False
    unknown_jump: bool = False
    frozen: bool = False
    ignored: bool = False
    new_categories: list[str] = field(default_factory=list)
    words: str = ""

    @property
    def broken(self) -> bool:
        """Whether it raises the alarm on its own: the model does not get what it needs from this column."""
        return self.missing_jump or self.unknown_jump or self.frozen


def judge(
    described: Sequence[Mapping[str, Any]], findings: Sequence[Finding], limits: Drift, length: str | None
) -> list[ColumnDrift]:
    """Say of each column whether it drifted, in the same order; p-values are adjusted for how many columns there are.

    Parameters
    ----------
    described, findings
        Of each column: its description in the reference, and what was measured.
    limits : Drift
        Of problem.yaml.
    length : str, optional
        With which of the training period's own windows to compare, as :func:`training.reference.usual_length` gives it.
    """
    adjusted: list[dict[Aspect, float]] = [{} for _ in findings]
    for aspect in ASPECTS:
        tested = [i for i, finding in enumerate(findings) if aspect in finding.p_values]
        for i, p in zip(tested, adjust([findings[i].p_values[aspect] for i in tested]), strict=True):
            adjusted[i][aspect] = p
    return [_judge(d, f, p, limits, length) for d, f, p in zip(described, findings, adjusted, strict=True)]


def _judge(
    about: Mapping[str, Any], finding: Finding, adjusted: Mapping[Aspect, float], limits: Drift, length: str | None
) -> ColumnDrift:
    usual = about["usual"].get(length, {})
    threshold = {aspect: limits.psi + _MARGIN * usual.get(aspect, 0.0) for aspect in ASPECTS}

    def much(aspect: Aspect) -> bool:
        return finding.effects.get(aspect, 0.0) >= threshold[aspect] and adjusted[aspect] < limits.alpha

    ignored = about["name"] in limits.ignore
    moved = much("values") and not ignored
    still = finding.only is not None and about["top"] <= FROZEN_TOP and not usual.get("still") and not ignored
    column = ColumnDrift(
        name=about["name"],
        kind=about["kind"],
        test=finding.test,
        effect=finding.effects.get("values"),
        threshold=threshold["values"],
        p_value=finding.p_values.get("values"),
        adjusted_p=adjusted.get("values"),
        drifted=moved or still or much("missing") or much("unknown"),
        missing_reference=about["missing"],
        missing_current=finding.missing,
        missing_jump=much("missing") and finding.missing > about["missing"],
        unknown_jump=much("unknown"),
        frozen=still,
        ignored=ignored,
        new_categories=finding.new,
    )
    return replace(column, words=_words(column, finding, moved=moved))


def _words(column: ColumnDrift, finding: Finding, *, moved: bool) -> str:
    said = []
    if max(column.missing_current, column.missing_reference) >= _WORTH_SAYING:
        more = ", many more than usual" if column.missing_jump else ""
        now, before = 100 * column.missing_current, 100 * column.missing_reference
        said.append(f"missing in {now:.1f} % of the rows, {before:.1f} % in the reference{more}")
    if finding.new:
        named = ", ".join(finding.new[:5]) + (", …" if len(finding.new) > 5 else "")
        said.append(f"unknown to the reference: {named} ({100 * finding.unknown:.1f} % of the rows)")
    if column.frozen:
        said.append(f"stands still at {finding.only}, where the reference has many values")
    if column.effect is None:
        said.append("too few values to say how they spread")
    else:
        how = "moved" if moved else "left out of the verdict" if column.ignored else "within what is usual"
        said.append(
            f"values {how} (index {column.effect:.2f}, limit {column.threshold:.2f}; p {column.adjusted_p:.2g})"
        )
    return f"{column.name}: {'; '.join(said)}."
