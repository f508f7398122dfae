"""Checks keys and tokens in memory: what a request costs, a database never sees.

A thread asks the database a few times a second whether anything has changed, and swaps in what is good now. While the
database is away, what was good goes on being so for a minute; after that nobody is let in.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hmac import compare_digest
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from core.auth.keys import Keys, split
from core.auth.principal import Principal
from core.auth.revision import NUMBER
from core.auth.tokens import Tokens, principal_of, refused, signing_key
from core.clock import SystemClock
from core.errors import DatabaseUnavailable, PunctualError, Unauthenticated
from core.tables import ApiKey, User
from core.tables import Session as SessionRow

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from core.clock import Clock
    from core.database import Database
    from core.layout import Layout
    from core.settings import Settings

log = logging.getLogger("punctual.guard")

POLL_SECONDS = 0.3
GRACE_SECONDS = 60.0
_USED_SECONDS = 60.0
_AHEAD_SECONDS = 0.5  # by which the clock of another machine may be ahead of ours
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
class _Live:
    token: str
    until: float
    principal: Principal


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What is good, and as of when: wall time to compare tokens with, monotonic time to know its age."""

    revision: int = -1
    keys: Mapping[str, _Key] = field(default_factory=dict)
    sessions: Mapping[str, _Live] = field(default_factory=dict)
    asked: float = 0.0
    seen: float = -_NEVER


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
    clock : Clock, optional
        By which keys and tokens end; by default the machine's.
    """

    def __init__(self, database: Database, settings: Settings, layout: Layout, clock: Clock | None = None) -> None:
        self._database, self._clock = database, clock or SystemClock()
        self._keys = Keys(database, clock)
        self._tokens = Tokens(signing_key(settings, layout), clock)
        self._snapshot = _Snapshot()  # swapped whole, never changed: readers need no lock
        self._looking = threading.Lock()
        self._away = False
        self._used: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="guard", daemon=True)

    def start(self) -> None:
        """Read what is good, and go on doing so; a database that is away is asked again and again.

        Raises
        ------
        ConfigError
            When the database was made by newer code.
        """
        self.refresh()
        self._thread.start()

    def close(self) -> None:
        """Stop looking, and note which keys were used."""
        self._stop.set()
        self._thread.join(5)
        self._note_used()

    def authenticate(self, authorization: bytes | None) -> Principal:
        """Return who shows a key or token. It asks nobody but memory.

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
        snapshot = self._snapshot
        if time.monotonic() - snapshot.seen > GRACE_SECONDS:
            raise DatabaseUnavailable("The accounts cannot be read.", hint="Start the database; see PUNCTUAL_DATABASE.")
        if not authorization:
            raise Unauthenticated("A key is needed.", hint="Send it as Authorization: Bearer <key>.")
        if len(authorization) > _LONGEST or authorization[:7].lower() != b"bearer ":
            raise refused()
        shown = authorization[7:].strip()
        if shown[:3] == b"pk_":
            return self._by_key(snapshot, shown)
        return self._by_token(snapshot, shown)

    def _by_key(self, snapshot: _Snapshot, shown: bytes) -> Principal:
        parts = split(shown)
        if parts is None:
            raise refused()
        key_id, digest = parts
        key = snapshot.keys.get(key_id, _NO_KEY)
        now = self._clock.now().timestamp()
        good, before = compare_digest(key.digest, digest), compare_digest(key.old, digest)
        if not (good or (before and now < key.old_until)) or now >= key.until:
            raise refused()
        self._used[key_id] = now
        return key.principal

    def _by_token(self, snapshot: _Snapshot, shown: bytes) -> Principal:
        token = self._tokens.read(shown)
        live = snapshot.sessions.get(token.session)
        if live is not None and live.token == token.id and self._clock.now().timestamp() < live.until:
            return live.principal
        # Made after we last looked: its signature vouches for it until the next look, in a moment. One from a clock
        # that is ahead of ours would be vouched for until we get there, ended or not: it has to be found by a look.
        if snapshot.asked < token.at <= self._clock.now().timestamp() + _AHEAD_SECONDS:
            return token.principal
        raise refused()

    def refresh(self) -> None:
        """Look now rather than in a moment: the service that changed something sees it at once."""
        with self._looking:
            asked, seen = self._clock.now(), time.monotonic()
            try:
                snapshot = self._snapshot
                if self._database.value(NUMBER) != snapshot.revision:
                    with self._database.session(reading=True) as session:
                        revision = session.scalars(NUMBER).one()  # of what is read here: it may have risen since
                        snapshot = _Snapshot(revision, _good_keys(session), _live_sessions(session, asked))
            except DatabaseUnavailable as error:
                if not self._away:
                    log.warning("the accounts cannot be read", extra={"detail": str(error)})
                self._away = True
                return
            if self._away:
                log.warning("the accounts can be read again")
            self._away = False
            self._snapshot = replace(snapshot, asked=asked.timestamp(), seen=seen)

    def _watch(self) -> None:
        noted = time.monotonic()
        while not self._stop.wait(POLL_SECONDS):
            try:
                self.refresh()
            except (PunctualError, SQLAlchemyError):  # tables of another shape, say: what we know grows old, and ends
                log.exception("the accounts cannot be read")
            if time.monotonic() - noted > _USED_SECONDS:
                noted = time.monotonic()
                self._note_used()

    def _note_used(self) -> None:
        used, self._used = self._used, {}
        if not used:
            return
        try:
            self._keys.used({key: datetime.fromtimestamp(at, UTC) for key, at in used.copy().items()})
        except PunctualError as error:
            log.warning("when keys were last used cannot be noted", extra={"detail": str(error)})


def _good_keys(session: Session) -> dict[str, _Key]:
    # Plain rows: with many keys, objects would hold up the requests of this process.
    columns = (
        ApiKey.id,
        ApiKey.name,
        ApiKey.owner,
        ApiKey.scopes,
        ApiKey.secret_hash,
        ApiKey.old_hash,
        ApiKey.old_until,
        ApiKey.expires_at,
        ApiKey.rate_limit,
    )
    found = {}
    for key_id, name, owner, scopes, digest, old, old_until, until, limit in session.execute(
        # (An owner need not be a user: the command makes keys too. None of those is disabled.)
        select(*columns)
        .outerjoin(User, User.name == ApiKey.owner)
        .where(ApiKey.revoked_at.is_(None), User.disabled_at.is_(None))
    ):
        found[key_id] = _Key(
            bytes.fromhex(digest),
            bytes.fromhex(old) if old else _NO_KEY.old,
            old_until.timestamp() if old_until else 0.0,
            until.timestamp() if until else _NEVER,
            Principal(key_id, f"key:{name}", "key", frozenset(scopes), limit, owner),
        )
    return found


def _live_sessions(session: Session, now: datetime) -> dict[str, _Live]:
    query = (
        select(SessionRow.id, SessionRow.token_id, SessionRow.expires_at, User.name, User.role, User.must_change)
        .join(User, User.name == SessionRow.user)
        .where(SessionRow.revoked_at.is_(None), SessionRow.expires_at > now, User.disabled_at.is_(None))
    )
    return {
        row.id: _Live(
            row.token_id,
            row.expires_at.timestamp(),
            principal_of(row.id, row.name, row.role, must_change=row.must_change),
        )
        for row in session.execute(query)
    }
