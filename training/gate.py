"""The promotion gate: what a challenger must reach, on the same test rows as the champion, in words that are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.problem import Gate
from training.evaluate import better, scores
from training.resample import RESAMPLES, metric_of_counts, resampled


@dataclass
class Verdict:
    """What the gate decided, and why.

    Attributes
    ----------
    passed : bool
        Whether the challenger may become champion.
    reasons : list of str
        One sentence a rule.
    """

    passed: bool = True
    reasons: list[str] = field(default_factory=list)

    def add(self, ok: bool, reason: str) -> None:
        """Note the outcome of one rule."""
        self.passed = self.passed and ok
        self.reasons.append(("ok: " if ok else "no: ") + reason)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data to keep."""
        return {"passed": self.passed, "reasons": self.reasons}


def judge(
    gate: Gate,
    y: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray | None,
    threshold: float,
    seed: int,
    unopposed: str = "there is no champion to beat",
) -> Verdict:
    """Judge a challenger by its probabilities on the test rows.

    Parameters
    ----------
    gate : Gate
        Floors, ceilings, the metric to compare by and the least gain.
    y, challenger, champion : arrays (n,)
        Labels, and both models' probabilities for the same rows; no champion for the first model.
    threshold : float
        The challenger's decision threshold.
    seed : int
        Seed of the resampling.
    unopposed : str
        The reason to note where there are no probabilities of a champion.
    """
    verdict = Verdict()
    found = scores(y, challenger, threshold)
    for name, floor in gate.floors.items():
        verdict.add(found[name] >= floor, f"{name} {found[name]:.4f}, floor {floor}")
    for name, ceiling in gate.ceilings.items():
        verdict.add(found[name] <= ceiling, f"{name} {found[name]:.4f}, ceiling {ceiling}")
    if champion is None:
        verdict.add(True, unopposed)
        return verdict
    gain, low = paired_gain(gate.metric, y, challenger, champion, seed)
    verdict.add(
        low > gate.min_gain,
        f"{gate.metric} better by {gain:+.4f} than the champion on the same {len(y):,} rows; with 95 % confidence by "
        f"more than {low:+.4f}, asked: {gate.min_gain:+.4f}",
    )
    return verdict


def paired_gain(
    metric: str, y: np.ndarray, challenger: np.ndarray, champion: np.ndarray, seed: int
) -> tuple[float, float]:
    """Return the gain on all rows, and its lower 95 % bound by a paired bootstrap over rows."""
    gain, samples = resampled_gains(metric, y, challenger, champion, seed)
    return gain, float(np.nanquantile(samples, 0.05))


def resampled_gains(
    metric: str,
    y: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    seed: int,
    *,
    count: int = RESAMPLES,
    groups: np.ndarray | None = None,
) -> tuple[float, list[float]]:
    """Return by how much the challenger is better on all rows, and on each of ``count`` samples of rows, drawn anew.

    Rows of one of ``groups`` (n,) are drawn together: those of one day share its weather, and say less than as many of
    different days.
    """
    new, old = (metric_of_counts(metric, y, p) for p in (challenger, champion))

    def gain(counts: np.ndarray) -> float:
        return better(metric, new(counts), old(counts))

    return gain(np.ones(len(y))), resampled(gain, np.arange(len(y)) if groups is None else groups, seed, count)
