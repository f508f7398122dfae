"""Everything about accounts in one place: keys, users, sessions, and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from core.auth.keys import Keys
from core.auth.sessions import Sessions, signing_key
from core.auth.users import Users
from core.clock import SystemClock
from core.logs import correlation_id as current_request
from core.masks import mask
from core.tables import Audit

if TYPE_CHECKING:
    from core.database import Database
    from core.layout import Layout
    from core.settings import Settings

_MOST = 1000


class Accounts:
    """The accounts of a database.

    Attributes
    ----------
    keys, users, sessions : Keys, Users, Sessions
        What the names say.
    """

    def __init__(self, database: Database, settings: Settings, layout: Layout) -> None:
        self._database = database
        self.keys = Keys(database)
        self.users = Users(database)
        self.sessions = Sessions(database, self.users, settings, signing_key(settings, layout))

    def check(self) -> None:
        """Make sure that the database answers.

        Raises
        ------
        DatabaseUnavailable
            When it does not.
        """
        self._database.check()

    def audit(
        self,
        actor: str,
        action: str,
        target: str,
        outcome: str = "done",
        *,
        detail: dict[str, Any] | None = None,
        correlation_id: str | None = None,
        address: str = "",
    ) -> None:
        """Add a record: who did what to what, and what came of it. Secrets in ``detail`` are masked.

        Raises
        ------
        DatabaseUnavailable
            When it cannot be kept.
        """
        row = Audit(
            at=SystemClock().now(),
            actor=actor[:80],
            action=action[:200],
            target=target[:400],
            outcome=outcome[:80],
            detail=mask(detail or {}),
            correlation_id=(current_request.get() if correlation_id is None else correlation_id)[:64],
            address=address[:64],
        )
        with self._database.session() as session:
            session.add(row)

    def audit_log(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        actor: str | None = None,
        action: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Return records, newest first.

        Parameters
        ----------
        since, until : datetime, optional
            ``[since, until)``, timezone-aware.
        actor, action : str, optional
            Only theirs; an action by its beginning.
        before : int, optional
            Only records with smaller ids, to page on.
        limit : int
            At most so many, 1000 at most.
        """
        query = select(Audit).order_by(Audit.id.desc()).limit(min(max(limit, 1), _MOST))
        if since is not None:
            query = query.where(Audit.at >= since)
        if until is not None:
            query = query.where(Audit.at < until)
        if actor is not None:
            query = query.where(Audit.actor == actor)
        if action is not None:
            query = query.where(Audit.action.startswith(action, autoescape=True))
        if before is not None:
            query = query.where(Audit.id < before)
        names = ("id", "at", "actor", "action", "target", "outcome", "detail", "correlation_id", "address")
        with self._database.session(reading=True) as session:
            return [{name: getattr(row, name) for name in names} for row in session.scalars(query)]
