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

from limits import parse
from sqlalchemy import select

from core.auth.principal import SCOPES
from core.auth.revision import bump
from core.clock import SystemClock
from core.errors import InvalidRequest, NotFound
from core.tables import ApiKey

if TYPE_CHECKING:
    from core.database import Database

_KEY = re.compile(rb"^pk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$")
_NAME = re.compile(r"^[\w .:@-]{1,64}$")


def split(key: bytes) -> tuple[str, bytes] | None:
    """Return a key's id and the digest of its secret; None for what is no key."""
    match = _KEY.match(key)
    return (match[1].decode(), hashlib.sha256(match[2]).digest()) if match else None


class Keys:
    """The keys of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
            Who makes it.
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
        now = SystemClock().now()
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
        with self._database.session() as session:
            session.add(row)
            bump(session)
        return f"pk_{key_id}_{secret}", view(row)

    def all(self) -> list[dict[str, Any]]:
        """Return what is known of every key, newest first; secrets nobody knows."""
        with self._database.session(reading=True) as session:
            return [view(row) for row in session.scalars(select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.id))]

    def rotate(self, key_id: str, *, grace: timedelta = timedelta(hours=1)) -> str:
        """Give a key a new secret; the old one stays good for ``grace``.

        Raises
        ------
        NotFound
            When there is no such key, or it was revoked.
        """
        now = SystemClock().now()
        secret, digest = _secret()
        with self._database.session() as session:
            row = _alive(session.get(ApiKey, key_id), key_id)
            row.old_hash, row.old_until = row.secret_hash, now + grace
            row.secret_hash = digest
            bump(session)
        return f"pk_{key_id}_{secret}"

    def revoke(self, key_id: str) -> None:
        """Make a key no good, within a second for every service.

        Raises
        ------
        NotFound
            When there is no such key, or it was revoked already.
        """
        with self._database.session() as session:
            _alive(session.get(ApiKey, key_id), key_id).revoked_at = SystemClock().now()
            bump(session)

    def knows(self, key: str) -> bool:
        """Say whether a key is good now."""
        found = split(key.encode())
        if found is None:
            return False
        with self._database.session(reading=True) as session:
            row = session.get(ApiKey, found[0])
            return (
                row is not None
                and row.revoked_at is None
                and (row.expires_at is None or row.expires_at > SystemClock().now())
                and secrets.compare_digest(row.secret_hash, found[1].hex())
            )

    def used(self, moments: dict[str, datetime]) -> None:
        """Note when keys were last used."""
        with self._database.session() as session:
            for key_id, moment in moments.items():
                row = session.get(ApiKey, key_id)
                if row is not None:
                    row.last_used_at = moment


def view(row: ApiKey) -> dict[str, Any]:
    """Return what may be told of a key."""
    names = ("id", "name", "owner", "scopes", "rate_limit", "created_at", "expires_at", "revoked_at", "last_used_at")
    return {name: getattr(row, name) for name in names}


def _secret() -> tuple[str, str]:
    secret = secrets.token_urlsafe(32)
    return secret, hashlib.sha256(secret.encode()).hexdigest()


def _check(name: str, scopes: Sequence[str], rate_limit: str | None, lifetime: timedelta | None) -> None:
    if not _NAME.match(name):
        raise InvalidRequest(f"{name[:80]!r} is no name for a key.", hint="Use up to 64 letters, digits and .:@-")
    if not scopes or not set(scopes) <= set(SCOPES):
        raise InvalidRequest(f"The scopes {list(scopes)!r} cannot be given.", hint=f"There are: {', '.join(SCOPES)}.")
    if lifetime is not None and not timedelta(0) < lifetime <= timedelta(days=3650):
        raise InvalidRequest(f"A key cannot live for {lifetime}.", hint="Up to 3650 days, or without an end.")
    if rate_limit is not None:
        try:
            parse(rate_limit)
        except ValueError as error:
            raise InvalidRequest(f"{rate_limit[:40]!r} is no rate limit.", hint="Write 100/minute.") from error


def _alive(row: ApiKey | None, key_id: str) -> ApiKey:
    if row is None or row.revoked_at is not None:
        raise NotFound(f"There is no key {key_id[:40]!r} to change.", hint="List the keys to see which there are.")
    return row
