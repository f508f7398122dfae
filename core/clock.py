"""The only place that asks what time it is.

Reference data ends long before today, so a problem may run on the *replay clock*: it stands at the end of the
last fetched window, and fetching the next window moves it on. Everything else takes the time from here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from core.errors import NoData
from core.windows import list_windows


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
        windows = list_windows(self.raw)
        if not windows:
            raise NoData("The replay clock has no time yet: nothing was fetched.", hint="Run: punctual fetch")
        return windows[-1].until


def epoch_seconds() -> float:
    """Return wall time in seconds, for what *this process* did (logs, pid files), never for features."""
    return time.time()  # noqa: TID251 - this module is the one place
