"""When to train again: pure rules over what was seen, each decision explained in words, also the one to do nothing.

A *trigger* is a reason to train: the schedule, drift, a drop in performance, enough new labelled rows. Two *brakes* hold
every trigger back: the cool-down after the last training, and too few new labelled rows to learn anything from.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.problem import Retraining

SCHEDULE, DRIFT, PERFORMANCE, VOLUME = "schedule", "drift", "performance", "volume"


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
        Labelled predictions since then.
    drift : str or None
        What drifted, in words; None where nothing did, or it could not be told.
    drop : str or None
        By how much performance fell, in words, where it fell further than the policy allows and beyond noise.
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
        ``retrain`` is true when a trigger was pulled and no brake holds.
    """
    raise NotImplementedError


def due(schedule: str | timedelta, last: datetime) -> datetime:
    """Return when a training is due after the last one: a week, a calendar month, or a duration later."""
    if schedule == "weekly":
        return last + timedelta(days=7)
    if isinstance(schedule, timedelta):
        return last + schedule
    year, month = last.year + last.month // 12, last.month % 12 + 1
    return last.replace(year=year, month=month, day=min(last.day, calendar.monthrange(year, month)[1]))
