"""When to train again: pure rules over what was seen, each decision explained in words, also the one to do nothing.

A *trigger* is a reason to train: the schedule, drift, a drop in performance, enough new labelled rows. Two *brakes*
hold every trigger back: the cool-down after the last training, and too few new labelled rows to learn anything from.
"""

from __future__ import annotations

import calendar
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.problem import Retraining

SCHEDULE, DRIFT, PERFORMANCE, VOLUME = TRIGGERS = ("schedule", "drift", "performance", "volume")


@dataclass(frozen=True)
class Seen:
    """What a turn has seen, as far as the policy asks. Moments are on the problem's clock.

    Attributes
    ----------
    now : datetime
        The end of the turn's window, UTC.
    trained_at : datetime or None
        The newest moment that any training learned from; None where nothing is known of one.
    new_rows : int
        Labelled predictions since then, each counted once.
    drift : str or None
        What drifted, in words; None where nothing did, or it could not be told.
    drop : str or None
        By how much performance fell, in words, where it fell further than allowed and beyond noise.
    """

    now: datetime
    trained_at: datetime | None
    new_rows: int
    drift: str | None = None
    drop: str | None = None


@dataclass(frozen=True)
class Decision:
    """Whether to train, because of what, and why (not), one sentence a rule."""

    retrain: bool
    triggers: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def decide(policy: Retraining, seen: Seen) -> Decision:
    """Decide whether to train again.

    Parameters
    ----------
    policy : Retraining
        The ``retraining`` section of problem.yaml.
    seen : Seen
        What the turn has seen.

    Returns
    -------
    Decision
        ``retrain`` is true when a trigger was pulled and no brake holds; ``triggers`` are those that were pulled,
        whether a brake holds or not.
    """
    pulled = {name: words for name, words in _triggers(policy, seen).items() if words}
    if not pulled:
        return Decision(False, [], [f"nothing to do: {_quiet(policy, seen)}"])
    brakes = _brakes(policy, seen)
    verdict = "train again" if not brakes else "not now, although there is a reason to train"
    return Decision(not brakes, list(pulled), [verdict, *pulled.values(), *brakes])


def due(schedule: str | timedelta, last: datetime) -> datetime:
    """Return when a training is due after the last one: a week, a calendar month, or a duration later."""
    if schedule == "weekly":
        return last + timedelta(days=7)
    if isinstance(schedule, timedelta):
        return last + schedule
    year, month = last.year + last.month // 12, last.month % 12 + 1
    return last.replace(year=year, month=month, day=min(last.day, calendar.monthrange(year, month)[1]))


def _triggers(policy: Retraining, seen: Seen) -> dict[str, str | None]:
    """Return every trigger with what pulled it, in words, or None."""
    found: dict[str, str | None] = dict.fromkeys(TRIGGERS)
    if policy.schedule is not None:
        found[SCHEDULE] = _scheduled(policy.schedule, seen)
    if policy.on_drift and seen.drift:
        found[DRIFT] = f"drift: {seen.drift}"
    if policy.on_performance and seen.drop:
        found[PERFORMANCE] = f"performance: {seen.drop}"
    if policy.new_rows is not None and seen.new_rows >= policy.new_rows:
        found[VOLUME] = f"volume: {seen.new_rows:,} labelled predictions are new, {policy.new_rows:,} are enough"
    return found


def _scheduled(schedule: str | timedelta, seen: Seen) -> str | None:
    if seen.trained_at is None:
        return "schedule: nothing is known of an earlier training"
    if seen.now < due(schedule, seen.trained_at):
        return None
    return f"schedule: the last training learned up to {_day(seen.trained_at)}, {_words(schedule)}"


def _brakes(policy: Retraining, seen: Seen) -> list[str]:
    out = []
    if seen.trained_at is not None and seen.now < seen.trained_at + policy.cooldown:
        out.append(
            f"cool-down: the last training learned up to {_day(seen.trained_at)}, the next may be from "
            f"{_day(seen.trained_at + policy.cooldown)} on"
        )
    if seen.new_rows < policy.min_rows:
        out.append(f"too little to learn: {seen.new_rows:,} labelled predictions are new, asked: {policy.min_rows:,}")
    return out


def _quiet(policy: Retraining, seen: Seen) -> str:
    """Say what each trigger that is set would have needed."""
    parts = []
    if policy.schedule is not None and seen.trained_at is not None:
        parts.append(f"the schedule trains on {_day(due(policy.schedule, seen.trained_at))}")
    if policy.on_drift:
        parts.append("no drift")
    if policy.on_performance:
        parts.append("no drop in performance")
    if policy.new_rows is not None:
        parts.append(f"{seen.new_rows:,} of {policy.new_rows:,} new labelled predictions")
    return ", ".join(parts) or "problem.yaml names no trigger"


def _words(schedule: str | timedelta) -> str:
    return f"one is due every {schedule.days} days" if isinstance(schedule, timedelta) else f"they are {schedule}"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
