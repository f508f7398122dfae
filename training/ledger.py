"""The promotion ledger: who or what put which version where, when, why, and for how long.

A row is written before anything is done (``pending``), and closed by what came of it: ``active`` while its version is
the champion, ``ended`` when another took over, ``refused`` when it did not come to pass. Requests for a second
person's approval are rows of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select

from core.clock import SystemClock
from core.tables import Promotion

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from core.database import Database

MOVES = ("promote", "rollback")
_ACTOR = 80  # what the column holds


class Ledger:
    """The rows of one model.

    Parameters
    ----------
    database : Database
        Where the table is.
    model : str
        The registered model's name.

    Raises
    ------
    DatabaseUnavailable
        From every method, when the database does not answer.
    """

    def __init__(self, database: Database, model: str) -> None:
        self.database = database
        self.model = model

    def add(
        self,
        action: str,
        version: str,
        previous: str | None,
        *,
        requested_by: str,
        reasons: Sequence[str],
        approved_by: str | None = None,
    ) -> Promotion:
        """Write an intention, ``pending``, and return it."""
        row = Promotion(
            model=self.model,
            version=version,
            previous_version=previous,
            action=action,
            status="pending",
            requested_by=requested_by[:_ACTOR],
            approved_by=approved_by and approved_by[:_ACTOR],
            reasons=list(reasons),
            created_at=SystemClock().now(),
        )
        with self.database.session() as session:
            session.add(row)
        return row

    def activate(self, row: Promotion) -> Promotion:
        """Note that a row's version is the champion now: the row before it ends, open requests are answered."""
        now = SystemClock().now()
        with self.database.session() as session:
            for other in self._found(session, Promotion.status.in_(("active", "pending")), Promotion.id != row.id):
                if other.action in MOVES:
                    if other.status == "active":
                        other.status, other.ended_at = "ended", now
                else:
                    answered = other.version == row.version
                    other.status, other.ended_at = ("ended" if answered else "refused"), now
                    other.approved_by = row.approved_by if answered else None
            mine = session.get_one(Promotion, row.id)
            mine.status = "active"
            return mine

    def close(self, row: Promotion, status: str, why: str) -> None:
        """End a row as ``ended`` or ``refused``; ``why`` is added to its reasons."""
        with self.database.session() as session:
            mine = session.get_one(Promotion, row.id)
            mine.status, mine.ended_at, mine.reasons = status, SystemClock().now(), [*mine.reasons, why]

    def active(self) -> Promotion | None:
        """Return the row whose version is the champion, or None."""
        return self._first(Promotion.action.in_(MOVES), Promotion.status == "active")

    def intentions(self) -> list[Promotion]:
        """Return promotions and rollbacks that were begun and neither done nor refused, oldest first."""
        with self.database.session(reading=True) as session:
            return self._found(session, Promotion.action.in_(MOVES), Promotion.status == "pending")[::-1]

    def request(self, version: str) -> Promotion | None:
        """Return the open request for a version, or None."""
        return self._first(Promotion.action == "request", Promotion.status == "pending", Promotion.version == version)

    def history(self, limit: int = 50, before: int | None = None) -> list[Promotion]:
        """Return rows, newest first; ``before`` (an id) gives the next page."""
        where = [Promotion.id < before] if before is not None else []
        with self.database.session(reading=True) as session:
            return self._found(session, *where, limit=limit)

    def _first(self, *where: ColumnElement[bool]) -> Promotion | None:
        with self.database.session(reading=True) as session:
            return next(iter(self._found(session, *where, limit=1)), None)

    def _found(self, session: Session, *where: ColumnElement[bool], limit: int | None = None) -> list[Promotion]:
        asked = select(Promotion).where(Promotion.model == self.model, *where)
        return list(session.scalars(asked.order_by(Promotion.id.desc()).limit(limit)))


def as_dict(row: Promotion) -> dict[str, object]:
    """Return a row as plain data, its moments in ISO form."""
    return {
        "id": row.id,
        "action": row.action,
        "status": row.status,
        "version": row.version,
        "previous_version": row.previous_version,
        "requested_by": row.requested_by,
        "approved_by": row.approved_by,
        "reasons": row.reasons,
        "created_at": row.created_at.isoformat(),
        "ended_at": row.ended_at and row.ended_at.isoformat(),
    }
