"""Back-off for log-ins that fail, and for links that are asked for or guessed, over all services and workers.

Tries are counted by address and name together, by address, and by name, *before* the password is looked at: a thousand
guesses at once are a thousand tries. After the free ones each failure doubles the wait, up to 15 minutes; a try during
a wait is refused without being counted, so a wait ends however often somebody knocks. An hour of peace forgets all.

Where a name has logged in before (30 days), only tries of that name at that address count: whoever guesses from
elsewhere cannot keep its owner out. An IPv6 address is its whole network: see :func:`core.addresses.counted_as`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_

from core.addresses import counted_as
from core.auth.revision import alone
from core.clock import SystemClock
from core.tables import Attempt

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from core.clock import Clock
    from core.database import Database

FREE = {"pair": 5, "address": 20, "name": 50}
LONGEST = timedelta(minutes=15)
_FORGOTTEN = timedelta(hours=1)
_KNOWN = timedelta(days=30)


class Lockout:
    """Counts tries and says who must wait.

    Parameters
    ----------
    database : Database
        Where they are counted.
    clock : Clock
        Of waits.
    of : str
        What is tried, where it is no log-in: counted by itself.
    free : mapping of str to int, optional
        How many tries are free, by address and name together, by address, by name.
    first : timedelta
        The wait after those; each failure doubles it.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock | None = None,
        *,
        of: str = "",
        free: Mapping[str, int] | None = None,
        first: timedelta = timedelta(seconds=1),
    ) -> None:
        self._database, self._clock = database, clock or SystemClock()
        self._of, self._free, self._first = of, free or FREE, first

    def admit(self, name: str, address: str) -> bool:
        """Count a try and say whether it may be made; one that may not is not counted."""
        with alone(self._database) as session:
            now = self._clock.now()
            _forget(session, now)
            known = session.get(Attempt, self._known(name, address)) is not None
            counted = self._counted(name, address)
            rows = {kind: session.get(Attempt, who) for kind, who in counted.items()}
            binding = ("pair",) if known else tuple(rows)
            if any((row := rows[kind]) and self._must_wait(row, kind, now) for kind in binding):
                return False
            for kind, who in counted.items():
                row = rows[kind]
                if row is None:
                    session.add(Attempt(who=who, failures=1, last_at=now))
                elif kind in binding or row.failures < self._free[kind]:
                    # (Somebody known who mistypes must not lengthen the wait of the others.)
                    row.failures, row.last_at = row.failures + 1, now
        return True

    def succeeded(self, name: str, address: str, *, remember: bool = True) -> None:
        """Take back a try that was right, and remember where its name logs in from."""
        now = self._clock.now()
        with alone(self._database) as session:
            for kind, who in self._counted(name, address).items():
                row = session.get(Attempt, who)
                if row is None:
                    continue
                row.failures -= 1
                if kind == "pair" or row.failures <= 0:
                    session.delete(row)
            if remember:
                session.merge(Attempt(who=self._known(name, address), failures=0, last_at=now))

    def _must_wait(self, row: Attempt, kind: str, now: datetime) -> bool:
        # (Clocks of two machines differ: without a wait, a last try in the future means nothing.)
        wait = _wait(row.failures, self._free[kind], self._first)
        return wait > timedelta(0) and now < row.last_at + wait

    def _known(self, name: str, address: str) -> str:
        return _who(f"known:{self._of}" if self._of else "known", name, counted_as(address))

    def _counted(self, name: str, address: str) -> dict[str, str]:
        address = counted_as(address)
        parts = {"pair": (name, address), "address": (address,), "name": (name,)}
        return {kind: _who(f"{self._of}:{kind}" if self._of else kind, *part) for kind, part in parts.items()}


def _wait(failures: int, free: int, first: timedelta = timedelta(seconds=1)) -> timedelta:
    return min(first * 2 ** min(failures - free, 20), LONGEST) if failures >= free else timedelta(0)


def _forget(session: Session, now: datetime) -> None:
    old = Attempt.last_at < now - _FORGOTTEN
    session.execute(
        delete(Attempt).where(or_(Attempt.last_at < now - _KNOWN, old & Attempt.who.not_like("known:%"))),
        execution_options={"synchronize_session": False},
    )


def _who(kind: str, *parts: str) -> str:
    # A hash: what was typed as a name may be a password, of any length, with any characters.
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return f"{kind}:{hashlib.sha256(text).hexdigest()[:40]}"
