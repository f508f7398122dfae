"""Everything about accounts in one place: keys, users, sessions, and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.auth import audit
from core.auth.keys import Keys
from core.auth.oidc_login import OidcLogin
from core.auth.resets import Resets
from core.auth.sessions import Sessions
from core.auth.tokens import Tokens, signing_key
from core.auth.users import Users

if TYPE_CHECKING:
    from core.clock import Clock
    from core.database import Database
    from core.layout import Layout
    from core.settings import Settings


class Accounts:
    """The accounts of a database.

    Parameters
    ----------
    database : Database
        Where they are.
    settings : Settings
        How long sessions and links last, the secret that signs tokens, where the dashboard is.
    layout : Layout
        Where this machine's own secret is, if the settings name none.
    clock : Clock, optional
        Of all that begins, ends and is recorded here; by default the machine's.

    Attributes
    ----------
    keys, users, sessions, resets, oidc : Keys, Users, Sessions, Resets, OidcLogin
        What the names say.

    Raises
    ------
    ConfigError
        When the configured secret is too short, the dashboard's address is none, or the OIDC settings are not whole.
    """

    def __init__(self, database: Database, settings: Settings, layout: Layout, clock: Clock | None = None) -> None:
        self._database = database
        self.keys = Keys(database, clock)
        self.users = Users(database, clock)
        self.resets = Resets(database, self.users, settings, clock)
        tokens = Tokens(signing_key(settings, layout), clock)
        self.sessions = Sessions(database, self.users, tokens, settings.session_minutes, clock)
        self.oidc = OidcLogin(database, self.users, self.sessions, settings, clock)

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
        with self._database.session() as session:
            audit.record(
                session,
                actor,
                action,
                target,
                outcome,
                detail=detail,
                correlation_id=correlation_id,
                address=address,
            )

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
        with self._database.session(reading=True) as session:
            return audit.read(session, since=since, until=until, actor=actor, action=action, before=before, limit=limit)
