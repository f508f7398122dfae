"""What an online read gives: values, where they come from, and how old they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from core.errors import StaleFeatures
from stores.codec import from_microseconds, to_microseconds

if TYPE_CHECKING:
    from stores.group_read import GroupRead
    from stores.plan import ViewPlan


class Status(StrEnum):
    """What became of one view's row."""

    PRESENT = "present"
    STALE = "stale"  # older than promised, served and flagged
    EXPIRED = "expired"  # past the ttl, or older than promised with the policy `missing`: treated as missing
    FUTURE = "future"  # stamped later than now, treated as missing
    NOT_FOUND = "not_found"


_SERVED = (Status.PRESENT, Status.STALE)


@dataclass(frozen=True, slots=True)
class ViewRows:
    """Where the values of one view come from, row by row.

    Attributes
    ----------
    status : list of Status, length n
    event_us : list of (int or None), length n
        Event time in microseconds since 1970 UTC; ``None`` where nothing is stored.
    present : bool
        Whether all of them are ``PRESENT``, as mostly: then there is nothing to look for among them.
    """

    status: list[Status]
    event_us: list[int | None]
    present: bool

    @property
    def event_timestamps(self) -> list[datetime | None]:
        """When each row's fact became known (UTC); ``None`` where nothing is stored."""
        return [None if us is None else from_microseconds(us) for us in self.event_us]


@dataclass(frozen=True, slots=True)
class OnlineRows:
    """The answer to a read of n rows.

    Attributes
    ----------
    columns : dict of str to list, each of length n
        Plain Python values by feature; ``None`` where missing. Moments are timezone-aware UTC.
    views : dict of str to ViewRows
        By view name (or alias).
    now : datetime
        The moment that ages refer to.
    """

    columns: dict[str, list[Any]]
    views: dict[str, ViewRows]
    now: datetime

    def ages(self, view: str) -> list[timedelta | None]:
        """Return how old each row of ``view`` is; ``None`` where nothing is stored."""
        return [None if t is None else self.now - t for t in self.views[view].event_timestamps]

    def stale(self, row: int) -> list[str]:
        """Return the views whose values for ``row`` are older than promised, served or not."""
        late = (Status.STALE, Status.EXPIRED)
        return [name for name, view in self.views.items() if view.status[row] in late]


class Gathering:
    """Gathers what the key groups of a read give.

    Parameters
    ----------
    now : datetime
        What ages refer to.
    refuse : bool
        Heed the policy ``refuse``.
    """

    def __init__(self, now: datetime, *, refuse: bool = True) -> None:
        self._now, self._now_us, self._refuse = now, to_microseconds(now), refuse
        self._columns: dict[str, list[Any]] = {}
        self._views: dict[str, ViewRows] = {}

    def take(self, read: GroupRead, replies: Sequence[Any]) -> None:
        """Take the replies to one group's commands.

        Raises
        ------
        StaleFeatures
            When a view with the policy ``refuse`` is older than it promises.
        """
        stored = read.columns(replies)
        for view in read.group.views:
            stop = view.start + len(view.features)
            columns, event_us = stored[view.start : stop], stored[stop]
            rows = self._views[view.name] = _judge(view, event_us, self._now_us)
            if not rows.present:
                if self._refuse and view.promise.policy == "refuse" and Status.STALE in rows.status:
                    raise _stale(view, rows.status.index(Status.STALE), event_us, self._now)
                for row, state in enumerate(rows.status):
                    if state not in _SERVED:
                        for column in columns:
                            column[row] = None
            self._columns.update(zip(view.features, columns, strict=True))

    def done(self) -> OnlineRows:
        """Return all of it."""
        return OnlineRows(self._columns, self._views, self._now)


def _judge(view: ViewPlan, event_us: list[int | None], now_us: int) -> ViewRows:
    """Return what became of each row, by its event time."""
    promise = view.promise
    fresh, alive = now_us - promise.fresh_us, now_us - promise.alive_us
    status = [Status.PRESENT] * len(event_us)
    different = set(event_us)  # few: rows are stored in batches of one event time
    if different and None not in different:
        times = cast("set[int]", different)
        oldest = min(times)
        if fresh <= oldest and alive <= oldest and max(times) <= now_us:
            return ViewRows(status, event_us, present=True)
    late = Status.EXPIRED if promise.policy == "missing" else Status.STALE
    dead = Status.STALE if promise.policy == "refuse" else Status.EXPIRED
    for row, us in enumerate(event_us):
        if us is None:
            status[row] = Status.NOT_FOUND
        elif us > now_us:
            status[row] = Status.FUTURE
        elif us < alive:
            status[row] = dead
        elif us < fresh:
            status[row] = late
    return ViewRows(status, event_us, present=False)


def _stale(view: ViewPlan, row: int, event_us: list[int | None], now: datetime) -> StaleFeatures:
    age = now - from_microseconds(event_us[row] or 0)
    return StaleFeatures(
        f"Entity {row}: the features of {view.name!r} are {age} old; the view promises {view.promise.age}.",
        hint="Fetch and materialize newer data, or relax the view's tags freshness and stale.",
        entity=row,
        view=view.name,
        age_seconds=age.total_seconds(),
    )
