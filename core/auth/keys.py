"""API keys: made, shown once, rotated, revoked.

A key is ``pk_<id>_<secret>``. The secret is 256 random bits, so one SHA-256 is a good hash of it: there is nothing to
guess that a slow hash would have to slow down, and a prediction can afford it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from limits import parse_many
from sqlalchemy import select

from core.auth.audit import record
from core.auth.principal import SCOPES
from core.auth.revision import alone, changing
from core.clock import SystemClock
from core.errors import Conflict, InvalidRequest, NotFound
from core.tables import ApiKey

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from core.clock import Clock
    from core.database import Database

_KEY = re.compile(rb"pk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})\Z")
_ID = re.compile(r"[0-9a-f]{12}\Z")
_NAME = re.compile(r"[A-Za-z0-9 .:@/'_-]{1,64}\Z")
_MOST_REQUESTS = 1_000_000_000
LONGEST_GRACE = timedelta(days=7)


def split(key: bytes) -> tuple[str, bytes] | None:
    """Return a key's id and the digest of its secret; None for what is no key."""
    match = _KEY.fullmatch(key)
    return (match[1].decode(), hashlib.sha256(match[2]).digest()) if match else None


class Keys:
    """The keys of a database.

    Every change names who makes it (``owner``, ``by``), and leaves an audit record in the same transaction.
    """

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database, self._clock = database, clock or SystemClock()

    def create(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        owner: str,
        lifetime: timedelta | None = None,
        rate_limit: str | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """Make a key.

        Parameters
        ----------
        name : str
            What it is for.
        scopes : sequence of str
            Of :data:`core.auth.principal.SCOPES`.
        owner : str
            Who makes it, and answers for it: when that user goes, so does the key.
        lifetime : timedelta, optional
            After which it is no good any more.
        rate_limit : str, optional
            Its own limit, as in ``100/minute``.

        Returns
        -------
        (str, dict)
            The key, which nobody can show again, and what is known of it.

        Raises
        ------
        InvalidRequest
            When a scope, the name or the limit is wrong.
        """
        _check(name, scopes, rate_limit, lifetime)
        now = self._clock.now()
        key_id, secret, digest = secrets.token_hex(6), *_secret()
        row = ApiKey(
            id=key_id,
            name=name,
            owner=owner,
            scopes=sorted(set(scopes)),
            secret_hash=digest,
            rate_limit=rate_limit,
            created_at=now,
            expires_at=now + lifetime if lifetime else None,
        )
        with changing(self._database) as session:
            session.add(row)
            detail = {"name": name, "scopes": row.scopes, "expires": row.expires_at and row.expires_at.isoformat()}
            record(session, owner, "key made", key_id, detail=detail)
        return f"pk_{key_id}_{secret}", view(row)

    def all(self) -> list[dict[str, Any]]:
        """Return what is known of every key, newest first; secrets nobody knows."""
        with self._database.session(reading=True) as session:
            return [view(row) for row in session.scalars(select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.id))]

    def rotate(self, key_id: str, *, by: str, grace: timedelta = timedelta(hours=1)) -> str:
        """Give a key a new secret; the old one stays good for ``grace``, the one before that does not.

        Raises
        ------
        InvalidRequest
            When ``grace`` is negative or longer than a week.
        NotFound
            When there is no such key, or it was revoked.
        Conflict
            When it has expired: a new secret would be no good either.
        """
        if not timedelta(0) <= grace <= LONGEST_GRACE:
            raise InvalidRequest(f"A grace of {grace} is not possible.", hint=f"At most {LONGEST_GRACE.days} days.")
        now = self._clock.now()
        secret, digest = _secret()
        with changing(self._database) as session:
            row = _alive(session, key_id)
            if row.expires_at is not None and row.expires_at <= now:
                raise Conflict(
                    f"The key {key_id} expired at {row.expires_at:%Y-%m-%d %H:%M} UTC.", hint="Make another."
                )
            row.old_hash, row.old_until = row.secret_hash, now + grace
            row.secret_hash = digest
            record(session, by, "key rotated", key_id, detail={"name": row.name, "grace": str(grace)})
        return f"pk_{key_id}_{secret}"

    def revoke(self, key_id: str, *, by: str) -> None:
        """Make a key no good, within a second for every service.

        Raises
        ------
        NotFound
            When there is no such key, or it was revoked already.
        """
        with changing(self._database) as session:
            row = _alive(session, key_id)
            row.revoked_at = self._clock.now()
            record(session, by, "key revoked", key_id, detail={"name": row.name})

    def knows(self, key: str, scopes: Sequence[str] = ()) -> bool:
        """Say whether a key is good now, not about to be replaced, and has these scopes."""
        found = split(key.encode("utf-8", "replace"))
        if found is None:
            return False
        with self._database.session(reading=True) as session:
            row = session.get(ApiKey, found[0])
            return (
                row is not None
                and row.revoked_at is None
                and (row.expires_at is None or row.expires_at > self._clock.now())
                and set(scopes) <= set(row.scopes)
                and secrets.compare_digest(row.secret_hash, found[1].hex())
            )

    def used(self, moments: dict[str, datetime]) -> None:
        """Note when keys were last used."""
        with alone(self._database) as session:  # without a new revision: guards need not know
            for key_id, moment in moments.items():
                row = session.get(ApiKey, key_id)
                if row is not None and (row.last_used_at is None or row.last_used_at < moment):
                    row.last_used_at = moment


def view(row: ApiKey) -> dict[str, Any]:
    """Return what may be told of a key."""
    names = ("id", "name", "owner", "scopes", "rate_limit", "created_at", "expires_at", "revoked_at", "last_used_at")
    return {name: getattr(row, name) for name in names}


def _secret() -> tuple[str, str]:
    secret = secrets.token_urlsafe(32)
    return secret, hashlib.sha256(secret.encode()).hexdigest()


def _check(name: str, scopes: Sequence[str], rate_limit: str | None, lifetime: timedelta | None) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name[:80]!r} is no name for a key.", hint="Use up to 64 of A-Z, a-z, 0-9, space and .:@/'_-"
        )
    if not scopes or not set(scopes) <= set(SCOPES):
        raise InvalidRequest(f"The scopes {list(scopes)!r} cannot be given.", hint=f"There are: {', '.join(SCOPES)}.")
    if lifetime is not None and not timedelta(0) < lifetime <= timedelta(days=3650):
        raise InvalidRequest(f"A key cannot live for {lifetime}.", hint="Up to 3650 days, or without an end.")
    if rate_limit is not None:
        try:
            (limit,) = parse_many(rate_limit)  # several, or what is none, is a ValueError
        except ValueError as error:
            raise _no_limit(rate_limit) from error
        if not 0 < limit.amount <= _MOST_REQUESTS:
            raise _no_limit(rate_limit)


def _no_limit(text: str) -> InvalidRequest:
    return InvalidRequest(f"{text[:40]!r} is no rate limit.", hint="Write a number and a unit, as in 100/minute.")


def _alive(session: Session, key_id: str) -> ApiKey:
    row = session.get(ApiKey, key_id) if _ID.match(key_id) else None
    if row is None or row.revoked_at is not None:
        raise NotFound(f"There is no key {key_id[:40]!r} to change.", hint="List the keys to see which there are.")
    return row
