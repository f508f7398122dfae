"""Back-off for log-ins that fail, over all services and workers.

Failures are counted by address and name together, by address, and by name. Whoever guesses at one name is slowed
after a few tries; its true owner, from another address, only when very many have guessed. A wait doubles with each
failure, up to 15 minutes, and everything is forgotten after an hour of peace.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from core.clock import SystemClock
from core.tables import Attempt

if TYPE_CHECKING:
    from core.database import Database

_FREE = {"pair": 5, "address": 20, "name": 50}
_LONGEST = timedelta(minutes=15)
_FORGOTTEN = timedelta(hours=1)


class Lockout:
    """Counts failures and says who must wait."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def locked(self, name: str, address: str) -> bool:
        """Say whether a log-in must not be tried now."""
        now = SystemClock().now()
        with self._database.session(reading=True) as session:
            for kind, who in _whos(name, address).items():
                row = session.get(Attempt, who)
                if row is not None and now < row.last_at + _wait(row.failures, _FREE[kind]):
                    return True
        return False

    def failed(self, name: str, address: str) -> None:
        """Count a failure."""
        now = SystemClock().now()
        with self._database.session() as session:
            for who in sorted(_whos(name, address).values()):
                row = session.get(Attempt, who, with_for_update=True)
                if row is None:
                    session.add(Attempt(who=who, failures=1, last_at=now))
                else:
                    row.failures = _counted(row.failures, row.last_at, now)
                    row.last_at = now

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name at an address."""
        with self._database.session() as session:
            row = session.get(Attempt, _whos(name, address)["pair"])
            if row is not None:
                session.delete(row)


def _counted(failures: int, last: datetime, now: datetime) -> int:
    return 1 if now - last > _FORGOTTEN else failures + 1


def _wait(failures: int, free: int) -> timedelta:
    if failures < free:
        return timedelta(0)
    return min(timedelta(seconds=2 ** min(failures - free, 20)), _LONGEST)


def _whos(name: str, address: str) -> dict[str, str]:
    name, address = name[:64], address[:45]
    return {"pair": f"{address} {name}", "address": address, "name": f"user {name}"}
