"""Alarms: opened once, brought up to date while they last, cleared with a reason.

An alarm is about a *subject* (a feature view, a metric, the drift test) and of a *kind*. There is at most one open
alarm of a kind about a subject. ``opened_at``, ``updated_at`` and ``cleared_at`` are on the problem's clock, as the
windows are; ``created_at`` and ``acknowledged_at`` are the machine's time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import select

from core.clock import SystemClock
from core.errors import NotFound
from core.tables import Alarm

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from core.database import Database

Kind = Literal["drift", "performance", "freshness", "skew", "online", "retraining", "monitoring"]
State = Literal["open", "cleared"]
_SUBJECT = 200  # what the column holds
_COLUMNS = (
    *("id", "kind", "subject", "words", "value", "threshold", "facts"),
    *("opened_at", "updated_at", "cleared_at", "cleared_why", "created_at", "acknowledged_at", "acknowledged_by"),
)


class Alarms:
    """The alarms of one model.

    Parameters
    ----------
    database : Database
        Where the table is.
    model : str
        The problem's name.

    Raises
    ------
    DatabaseUnavailable
        From every method, when the database does not answer.
    """

    def __init__(self, database: Database, model: str) -> None:
        self.database = database
        self.model = model

    def raise_alarm(
        self,
        kind: Kind,
        subject: str,
        words: str,
        *,
        at: datetime,
        value: float | None = None,
        threshold: float | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> bool:
        """Open an alarm, or bring the open one up to date; one that is newer than ``at`` is left as it is.

        Parameters
        ----------
        kind, subject : str
            What is wrong, with what.
        words : str
            The same in a sentence.
        at : datetime
            When it was seen, on the problem's clock.
        value, threshold : float, optional
            What was measured, and the bound that it broke.
        facts : mapping, optional
            Plain data for whoever looks closer.

        Returns
        -------
        bool
            Whether it was opened by this call.
        """
        with self.database.session() as session:
            row = self._open(session, kind, subject)
            opened = row is None
            if row is None:
                row = Alarm(
                    model=self.model,
                    kind=kind,
                    subject=subject[:_SUBJECT],
                    opened_at=at,
                    updated_at=at,
                    created_at=SystemClock().now(),
                )
                session.add(row)
            if at >= row.updated_at:
                row.words, row.value, row.threshold, row.facts = words, value, threshold, dict(facts or {})
                row.updated_at = at
        return opened

    def clear(self, kind: Kind, subject: str, why: str, *, at: datetime) -> bool:
        """End the open alarm of a kind about a subject, and say whether there was one.

        What was seen before the alarm was does not end it.
        """
        with self.database.session() as session:
            row = self._open(session, kind, subject)
            if row is None or at < row.updated_at:
                return False
            row.cleared_at, row.cleared_why = at, why
        return True

    def acknowledge(self, alarm_id: int, *, actor: str) -> dict[str, Any]:
        """Note that somebody has seen an alarm and takes care of it; it stays open until its cause is gone.

        The first to do so is kept.

        Raises
        ------
        NotFound
            When there is no such alarm.
        """
        with self.database.session() as session:
            row = self._one(session, alarm_id)
            if row.acknowledged_at is None:
                row.acknowledged_at, row.acknowledged_by = SystemClock().now(), actor[:80]
            return as_dict(row)

    def get(self, alarm_id: int) -> dict[str, Any]:
        """Return one alarm.

        Raises
        ------
        NotFound
            When there is no such alarm.
        """
        with self.database.session(reading=True) as session:
            return as_dict(self._one(session, alarm_id))

    def list(self, state: State | None = None, limit: int | None = 100) -> list[dict[str, Any]]:
        """Return alarms as plain data, newest first: all, or those that are open or cleared."""
        where = {"open": [Alarm.cleared_at.is_(None)], "cleared": [Alarm.cleared_at.is_not(None)], None: []}[state]
        with self.database.session(reading=True) as session:
            return [as_dict(row) for row in self._found(session, *where, limit=limit)]

    def _one(self, session: Session, alarm_id: int) -> Alarm:
        row = session.get(Alarm, alarm_id)
        if row is None or row.model != self.model:
            raise NotFound(f"There is no alarm {alarm_id}.", hint="GET /monitoring/alarms lists them.")
        return row

    def _open(self, session: Session, kind: str, subject: str) -> Alarm | None:
        about = (Alarm.kind == kind, Alarm.subject == subject[:_SUBJECT], Alarm.cleared_at.is_(None))
        return next(iter(self._found(session, *about)), None)

    def _found(self, session: Session, *where: ColumnElement[bool], limit: int | None = None) -> Sequence[Alarm]:
        asked = select(Alarm).where(Alarm.model == self.model, *where).order_by(Alarm.id.desc()).limit(limit)
        return session.scalars(asked).all()


def as_dict(row: Alarm) -> dict[str, Any]:
    """Return an alarm as plain data, its moments in ISO form, with its ``state``: ``open`` or ``cleared``."""
    return {"state": "open" if row.cleared_at is None else "cleared", **plain(row, _COLUMNS)}


def plain(row: object, columns: Sequence[str]) -> dict[str, Any]:
    """Return columns of a row as plain data, moments in ISO form."""
    values = {name: getattr(row, name) for name in columns}
    return {name: v.isoformat() if isinstance(v, datetime) else v for name, v in values.items()}
