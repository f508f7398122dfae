"""The only place that asks what time it is.

Reference data ends long before today, so a problem may run on the *replay clock*: it stands at the end of the
last fetched window, and fetching the next window moves it on. Everything else takes the time from here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from core.errors import NoData
from core.windows import list_windows

_SETTLED_SECONDS = 2.0


class Clock(Protocol):
    """Something that knows the time."""

    def now(self) -> datetime:
        """Return the present moment, timezone-aware UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the system time, UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this module is the one place


@dataclass(frozen=True)
class FixedClock:
    """A clock that stands still, for backfills and tests."""

    moment: datetime

    def now(self) -> datetime:
        """Return the fixed moment, UTC."""
        return self.moment.astimezone(UTC)


@dataclass(frozen=True)
class ReplayClock:
    """A clock that stands at the end (exclusive) of the last fetched raw window."""

    raw: Path

    def now(self) -> datetime:
        """Return the end of the last fetched window, UTC.

        Raises
        ------
        NoData
            When no window has been fetched yet.
        """
        until = self._until()
        if until is None:
            raise NoData("The replay clock has no time yet: nothing was fetched.", hint="Run: punctual fetch")
        return until

    def _until(self) -> datetime | None:
        try:
            changed = self.raw.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        # Every prediction asks. A folder that has just changed may change again within the same tick of its time stamp.
        settled = epoch_seconds() - changed / 1e9 > _SETTLED_SECONDS
        return _last_until(self.raw, changed) if settled else _last_until.__wrapped__(self.raw, changed)


@lru_cache(maxsize=16)
def _last_until(raw: Path, changed: int) -> datetime | None:
    windows = list_windows(raw)
    return windows[-1].until if windows else None


def epoch_seconds() -> float:
    """Return wall time in seconds, for what *this process* did (logs, pid files), never for features."""
    return time.time()  # noqa: TID251 - this module is the one place
