"""Links with which a new password is set, once: given out by an administrator, or mailed to who asks.

A link's secret is 256 random bits, and the database keeps its SHA-256, as for keys. A user has one link at most: a
newer one takes its place, and a new password by any way, another role or address, or being disabled ends it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from core.auth import passwords
from core.auth.audit import record
from core.auth.lockout import Lockout
from core.auth.revision import alone, changing
from core.auth.users import find, found
from core.clock import SystemClock
from core.errors import Conflict, Forbidden
from core.places import dashboard_address
from core.tables import ResetLink, User

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from core.auth.users import Users
    from core.clock import Clock
    from core.database import Database
    from core.settings import Settings

_TOKEN = re.compile(r"pr_([0-9a-f]{12})_([A-Za-z0-9_-]{43})\Z")
_NO_HASH = "0" * 64
_UNKNOWN = "unknown user"
# Asked for more often, and an inbox would fill up; the waits begin with a minute.
_FREE_ASKS = {"pair": 3, "address": 20, "name": 3}
PAGE = "/reset"


@dataclass(frozen=True)
class Letter:
    """What to mail to whom."""

    to: str
    subject: str
    text: str


class Resets:
    """The links of a database.

    Parameters
    ----------
    database : Database
        Where they are.
    users : Users
        Whose passwords they set.
    settings : Settings
        For how long they are good, and where the dashboard is that they lead to.
    clock : Clock, optional
        By default the machine's.

    Raises
    ------
    ConfigError
        When the dashboard's address is none.
    """

    def __init__(self, database: Database, users: Users, settings: Settings, clock: Clock | None = None) -> None:
        self._database, self._users, self._clock = database, users, clock or SystemClock()
        self._base, self._minutes = dashboard_address(settings), settings.reset_minutes
        self._asks = Lockout(database, clock, of="ask", free=_FREE_ASKS, first=timedelta(minutes=1))
        self._uses = Lockout(database, clock, of="use")

    def issue(self, name: str, *, by: str) -> dict[str, Any]:
        """Make a link of a user's, which nobody can show again.

        Returns
        -------
        dict
            ``name``, ``link``, ``expires_at``.

        Raises
        ------
        NotFound, Conflict
            When there is no such user, or they are disabled.
        """
        with alone(self._database) as session:
            user = found(session, name)
            if user.disabled_at is not None:
                raise Conflict(f"{name} is disabled.", hint="Enable them first.")
            link, row = self._made(session, user, by)
            record(session, by, "reset link made", name)
        return {"name": name, "link": link, "expires_at": row.expires_at}

    def ask(self, typed: str, address: str, *, mailed: bool = True) -> Letter | None:
        """Make a link for somebody who cannot log in, if there is somebody to mail it to.

        Parameters
        ----------
        typed : str
            A user name or a mail address.
        address : str
            Where it is asked from.
        mailed : bool
            Whether there is a way to send mails at all.

        Returns
        -------
        Letter or None
            Whoever asks must not hear which.
        """
        allowed = self._asks.admit(typed, address)
        with alone(self._database) as session:
            user = find(session, typed)
            good = allowed and mailed and user is not None and user.disabled_at is None and user.email is not None
            if allowed:  # what is not even looked at would fill the log
                who, outcome = (user.name if user else _UNKNOWN), ("done" if good else "refused")
                record(session, who, "reset link asked for", who, outcome, address=address)
            if not good or user is None or user.email is None:
                return None
            link, _ = self._made(session, user, _UNKNOWN)
            return Letter(user.email, "A new password for punctual", self._words(user.name, link))

    def use(self, token: str, password: str, address: str) -> str:
        """Set a password by a link: it is used up, all sessions end; return whose it was.

        Raises
        ------
        Forbidden
            In the same words whether it is unknown, used, replaced or expired, or there were too many tries.
        InvalidRequest
            When the password is not allowed: the link stays good.
        """
        match = _TOKEN.match(token)
        link_id, digest = (match[1], _hash(match[2])) if match else ("", _NO_HASH[1:] + "1")
        allowed = self._uses.admit(link_id, address)
        with self._database.session(reading=True) as session:
            user = self._holder(session, link_id, digest)
        if not allowed or user is None:
            if allowed:
                with self._database.session() as session:
                    record(session, _UNKNOWN, "use reset link", link_id or "no link", "refused", address=address)
            raise _refused()
        self._uses.succeeded(link_id, address, remember=False)
        passwords.check_rules(user.name, password)
        hashed = passwords.hashed(password)  # (takes a while: not while others wait for the accounts)
        with changing(self._database) as session:
            now = self._holder(session, link_id, digest)
            if now is None:
                raise _refused()
            self._users.set_hash(session, now, hashed, must_change=False)
            record(session, now.name, "password set by link", now.name, address=address)
        return user.name

    def _made(self, session: Session, user: User, by: str) -> tuple[str, ResetLink]:
        link_id, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), self._clock.now()
        row = ResetLink(
            user=user.name,
            id=link_id,
            secret_hash=_hash(secret),
            made_by=by,
            created_at=now,
            expires_at=now + timedelta(minutes=self._minutes),
        )
        session.merge(row)
        # Behind the #: a browser keeps that part to itself. It is in no log of a server or proxy, and in no Referer.
        return f"{self._base}{PAGE}#pr_{link_id}_{secret}", row

    def _holder(self, session: Session, link_id: str, digest: str) -> User | None:
        row = session.scalars(select(ResetLink).where(ResetLink.id == link_id)).first()
        same = compare_digest(row.secret_hash if row else _NO_HASH, digest)
        if not same or row is None or row.expires_at <= self._clock.now():
            return None
        user = session.get(User, row.user)
        return user if user is not None and user.disabled_at is None else None

    def _words(self, name: str, link: str) -> str:
        return (
            f"Somebody asked for a new password for {name}, at {self._base}.\n\n"
            f"To choose one, open this within {self._minutes} minutes. It works once:\n\n{link}\n\n"
            "If it was not you, do nothing: your password stays as it is.\n"
        )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _refused() -> Forbidden:
    return Forbidden("That link is not good any more, or there were too many tries.", hint="Ask for a new one.")
