"""Log-ins: sessions that are rows, and the short-lived tokens that stand for them.

Only the newest token of a session is good: one that was exchanged for a new one and turns up again to be exchanged was
stolen from somebody, and ends the session.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete

from core.auth.audit import record
from core.auth.lockout import Lockout
from core.auth.revision import changing
from core.auth.tokens import refused
from core.clock import SystemClock
from core.errors import Forbidden, InvalidRequest, Unauthenticated
from core.tables import Session as SessionRow
from core.tables import User

if TYPE_CHECKING:
    from core.auth.tokens import Tokens
    from core.auth.users import Users
    from core.clock import Clock
    from core.database import Database

LONGEST = timedelta(hours=12)  # after which one must log in again, however often it was refreshed
_KEPT = timedelta(days=7)  # for which rows of sessions that are over stay, to be looked at
_UNKNOWN = "unknown user"  # what was typed as a name may be a password: it is not kept


class Sessions:
    """The sessions of a database.

    Parameters
    ----------
    database : Database
        Where they are.
    users : Users
        Who may log in.
    tokens : Tokens
        Signs what stands for a session.
    minutes : int
        For how long a token is good.
    clock : Clock, optional
        By default the machine's.
    """

    def __init__(
        self, database: Database, users: Users, tokens: Tokens, minutes: int, clock: Clock | None = None
    ) -> None:
        self._database, self._users, self._tokens = database, users, tokens
        self._lifetime = timedelta(minutes=minutes)
        self._clock = clock or SystemClock()
        self._lockout = Lockout(database, clock)

    def log_in(self, name: str, password: str, address: str) -> dict[str, Any]:
        """Start a session.

        Returns
        -------
        dict
            ``token``, ``expires_at``, ``user``, ``role``, ``must_change``.

        Raises
        ------
        Unauthenticated
            In the same words, after the same time, whether the user is unknown or disabled, the password wrong, or
            there were too many tries.
        """
        user = self._prove(name, password, address, action="log in")
        if user is None:
            raise Unauthenticated(
                "User name or password is wrong, or there were too many tries.",
                hint="After several failures wait a while; it is 15 minutes at most.",
            )
        return self.begin(user, address)

    def change_password(self, name: str, old: str, new: str, address: str) -> dict[str, Any]:
        """Change one's own password: all sessions end, and a new one starts, as by :meth:`log_in`.

        Raises
        ------
        Forbidden
            When the old one is wrong, or there were too many tries.
        InvalidRequest
            When the new one is not allowed.
        """
        if old == new:
            raise InvalidRequest("The new password is the old one.", hint="Choose another.")
        if self._prove(name, old, address, action="change password") is None:
            raise Forbidden("The old password is wrong, or there were too many tries.", hint="Try again in a while.")
        self._users.set_password(name, new, by=name)
        with self._database.session(reading=True) as session:
            user = session.get_one(User, name)
        return self.begin(user, address)

    def refresh(self, token: str) -> dict[str, Any]:
        """Exchange a good token for a new one.

        Raises
        ------
        Unauthenticated
            When it is not good; when it was exchanged before, its session ends as well.
        """
        shown = self._tokens.read(token)
        now = self._clock.now()
        with changing(self._database) as session:
            row = session.get(SessionRow, shown.session)
            user = session.get(User, row.user) if row else None
            if row is None or user is None or row.revoked_at is not None or row.expires_at <= now:
                raise refused()
            if user.disabled_at is not None:
                raise refused()
            stolen = row.token_id != shown.id
            if stolen:
                row.revoked_at = now
                record(session, row.user, "session revoked", row.id, detail={"why": "an old token was shown"})
            elif now >= row.created_at + LONGEST:
                raise Unauthenticated("The session has lasted long enough.", hint="Log in again.")
            else:
                row.token_id = secrets.token_hex(16)
                row.expires_at = min(now + self._lifetime, row.created_at + LONGEST)
        if stolen:
            raise refused()
        return self._issued(row, user)

    def end(self, session_id: str) -> None:
        """End a session; one that is over stays over."""
        with changing(self._database) as session:
            row = session.get(SessionRow, session_id)
            if row is not None and row.revoked_at is None:
                row.revoked_at = self._clock.now()
                record(session, row.user, "log out", row.id)

    def _prove(self, name: str, password: str, address: str, *, action: str) -> User | None:
        """Return the user if the password is theirs and they need not wait."""
        allowed = self._lockout.admit(name, address)
        user = self._users.verify(name, password)  # also when they must wait: that must not be heard
        if allowed and user is not None:
            self._lockout.succeeded(name, address)
            return user
        known = self._users.exists(name)
        if allowed:  # what is not even looked at would fill the log
            with self._database.session() as session:
                record(session, name if known else _UNKNOWN, action, "session", "refused", address=address)
        return None

    def begin(self, user: User, address: str, *, by: str = "password") -> dict[str, Any]:
        """Start a session of somebody who has proved who they are, as :meth:`log_in` does.

        Parameters
        ----------
        user : User
            As they were when they proved it.
        address, by : str
            Where from, and how.

        Raises
        ------
        Unauthenticated
            When their password was changed meanwhile, or they are disabled or removed.
        """
        now = self._clock.now()
        row = SessionRow(
            id=secrets.token_hex(16),
            user=user.name,
            token_id=secrets.token_hex(16),
            created_at=now,
            expires_at=now + min(self._lifetime, LONGEST),
        )
        with changing(self._database) as session:
            session.execute(delete(SessionRow).where(SessionRow.expires_at < now - _KEPT))
            # Between the look at the password and now it may have been reset, or the user disabled or removed.
            there = session.get(User, user.name)
            if there is None or there.password_hash != user.password_hash or there.disabled_at is not None:
                raise refused()
            session.add(row)
            record(session, user.name, "log in", row.id, detail={"by": by}, address=address)
        return self._issued(row, there)

    def _issued(self, row: SessionRow, user: User) -> dict[str, Any]:
        token = self._tokens.make(
            row.id, row.token_id, user.name, user.role, must_change=user.must_change, until=row.expires_at
        )
        facts = {"user": user.name, "role": user.role, "must_change": user.must_change}
        return {"token": token, "expires_at": row.expires_at, **facts}
