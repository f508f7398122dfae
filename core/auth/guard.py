"""Checks keys and tokens in memory: what a request costs, a database never sees.

A thread asks the database a few times a second whether anything has changed, and swaps in what is good now. While the
database is away, what was good goes on being so for a minute; after that nobody is let in.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from hmac import compare_digest
from typing import TYPE_CHECKING

from sqlalchemy import select

from core.auth.keys import Keys, split
from core.auth.principal import Principal
from core.auth.revision import current
from core.auth.sessions import principal_of, read_token, signing_key
from core.clock import SystemClock, epoch_seconds
from core.errors import DatabaseUnavailable, PunctualError, Unauthenticated
from core.tables import ApiKey, User
from core.tables import Session as SessionRow

if TYPE_CHECKING:
    from core.database import Database
    from core.layout import Layout
    from core.settings import Settings

log = logging.getLogger("punctual.guard")

_POLL_SECONDS = 0.3
_GRACE_SECONDS = 60.0
_USED_SECONDS = 60.0
_LONGEST = 2048  # bytes of a credential
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class _Key:
    digest: bytes
    old: bytes
    old_until: float
    until: float
    principal: Principal


@dataclass(frozen=True, slots=True)
class _Session:
    token: str
    until: float
    principal: Principal


@dataclass(frozen=True)
class _Snapshot:
    """What is good, as of a moment."""

    revision: int = -1
    keys: dict[str, _Key] = field(default_factory=dict)
    sessions: dict[str, _Session] = field(default_factory=dict)


# Compared with where there is no such key, so that one cannot hear the difference.
_NO_KEY = _Key(b"\0" * 32, b"\0" * 32, 0.0, 0.0, Principal("", "", "key", frozenset()))


class Guard:
    """Lets in who has a good key or token.

    Parameters
    ----------
    database : Database
        Of the accounts.
    settings : Settings
        Whose secret key signs tokens.
    layout : Layout
        Where this machine's own secret is.
    """

    def __init__(self, database: Database, settings: Settings, layout: Layout) -> None:
        self._database = database
        self._keys = Keys(database)
        self._signing_key = signing_key(settings, layout)
        self._snapshot = _Snapshot()
        self._asked = 0.0  # wall time of the last look at the database
        self._seen = float("-inf")  # monotonic, the same
        self._used: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="guard", daemon=True)

    def start(self) -> None:
        """Read what is good, and go on doing so; a database that is away is asked again."""
        self._look()
        self._thread.start()

    def close(self) -> None:
        """Stop looking, and note which keys were used."""
        self._stop.set()
        self._thread.join(5)
        self._note_used()

    def refresh(self) -> None:
        """Look now rather than in a moment: the service that changed something sees it at once."""
        self._look()

    def authenticate(self, authorization: bytes | None) -> Principal:
        """Return who shows a key or token.

        Parameters
        ----------
        authorization : bytes, optional
            The value of an Authorization header: ``Bearer <key or token>``.

        Raises
        ------
        Unauthenticated
            When it is not good; it does not say why.
        DatabaseUnavailable
            When it has been away for more than a minute.
        """
        if time.monotonic() - self._seen > _GRACE_SECONDS:
            raise DatabaseUnavailable("The accounts cannot be read.", hint="Start the database; see PUNCTUAL_DATABASE.")
        if not authorization:
            raise Unauthenticated("A key is needed.", hint="Send it as Authorization: Bearer <key>.")
        if len(authorization) > _LONGEST or authorization[:7].lower() != b"bearer ":
            raise _refused()
        shown = authorization[7:].strip()
        return self._key(shown) if shown[:3] == b"pk_" else self._token(shown)

    def _key(self, shown: bytes) -> Principal:
        parts = split(shown)
        if parts is None:
            raise _refused()
        key_id, digest = parts
        key = self._snapshot.keys.get(key_id, _NO_KEY)
        now = epoch_seconds()
        good, before = compare_digest(key.digest, digest), compare_digest(key.old, digest)
        if not (good or (before and now < key.old_until)) or now >= key.until:
            raise _refused()
        self._used[key_id] = now
        return key.principal

    def _token(self, shown: bytes) -> Principal:
        try:
            token = read_token(shown.decode("ascii"), self._signing_key)
        except UnicodeDecodeError as error:
            raise _refused() from error
        session = self._snapshot.sessions.get(token.session)
        if session is not None and session.token == token.id and epoch_seconds() < session.until:
            return session.principal
        # It is newer than what we know: its signature vouches for it until the next look, in a moment.
        if token.at > self._asked:
            return token.principal
        raise _refused()

    def _watch(self) -> None:
        noted = time.monotonic()
        while not self._stop.wait(_POLL_SECONDS):
            self._look()
            if time.monotonic() - noted > _USED_SECONDS:
                noted = time.monotonic()
                self._note_used()

    def _look(self) -> None:
        asked = epoch_seconds()
        try:
            with self._database.session(reading=True) as session:
                revision = current(session)
                if revision != self._snapshot.revision:
                    self._snapshot = _Snapshot(
                        revision,
                        {
                            row.id: _key_of(row)
                            for row in session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None)))
                        },
                        {
                            row.id: _session_of(row, user)
                            for row, user in session.execute(
                                select(SessionRow, User)
                                .join(User, User.name == SessionRow.user)
                                .where(SessionRow.revoked_at.is_(None), SessionRow.expires_at > SystemClock().now())
                            )
                        },
                    )
        except PunctualError as error:
            if self._seen > time.monotonic() - 2 * _POLL_SECONDS or self._seen == float("-inf"):
                log.warning("the accounts cannot be read", extra={"detail": str(error)})
            return
        self._asked, self._seen = asked, time.monotonic()

    def _note_used(self) -> None:
        used, self._used = self._used, {}
        if not used:
            return
        try:
            self._keys.used({key: datetime.fromtimestamp(at, SystemClock().now().tzinfo) for key, at in used.items()})
        except PunctualError as error:
            log.warning("when keys were last used cannot be noted", extra={"detail": str(error)})


def _refused() -> Unauthenticated:
    return Unauthenticated("The key or token is not good, or no longer.", hint="Log in again, or ask for another key.")


def _key_of(row: ApiKey) -> _Key:
    return _Key(
        bytes.fromhex(row.secret_hash),
        bytes.fromhex(row.old_hash) if row.old_hash else _NO_KEY.digest,
        row.old_until.timestamp() if row.old_until else 0.0,
        row.expires_at.timestamp() if row.expires_at else _NEVER,
        Principal(row.id, f"key:{row.name}", "key", frozenset(row.scopes), row.rate_limit),
    )


def _session_of(row: SessionRow, user: User) -> _Session:
    principal = principal_of(row.id, user.name, user.role, must_change=user.must_change)
    return _Session(row.token_id, row.expires_at.timestamp(), principal)
