"""Log-ins of people: short-lived signed tokens, each of a session that can be ended at once.

A token is a JWT (RFC 7519, HS256) that names its session and its own id. Only the newest token of a session is good:
one that was exchanged for a new one and turns up again was stolen from somebody, and ends the session.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt

from core.auth.lockout import Lockout
from core.auth.principal import ROLES, SELF, Principal
from core.auth.revision import bump
from core.clock import SystemClock
from core.errors import ConfigError, Unauthenticated
from core.files import make_secret
from core.tables import Session as SessionRow
from core.tables import User

if TYPE_CHECKING:
    from core.auth.users import Users
    from core.database import Database
    from core.layout import Layout
    from core.settings import Settings

_ISSUER = _AUDIENCE = "punctual"
_ALGORITHM = "HS256"
_LONGEST = timedelta(hours=12)  # after which a session cannot be refreshed any more
_REFUSED = "User name or password is wrong, or there were too many tries; in that case wait a while."
_CLAIMS = ["exp", "iat", "sub", "sid", "jti", "role", "at"]


@dataclass(frozen=True)
class Token:
    """A token that was read: its signature, issuer, audience and end are good."""

    session: str
    id: str
    user: str
    role: str
    must_change: bool
    at: float  # when it was made, seconds since 1970

    @property
    def principal(self) -> Principal:
        """Who shows it."""
        return principal_of(self.session, self.user, self.role, must_change=self.must_change)


def principal_of(session: str, user: str, role: str, *, must_change: bool) -> Principal:
    """Return who a session stands for; with a password that must be changed it can do just that."""
    scopes = frozenset((SELF,)) if must_change else ROLES.get(role, frozenset((SELF,)))
    return Principal(session, user, "session", scopes)


def signing_key(settings: Settings, layout: Layout) -> str:
    """Return the secret that signs tokens: the configured one, or this machine's, made at its first use.

    Raises
    ------
    ConfigError
        When the configured one is short.
    """
    if settings.secret_key is None:
        return make_secret(layout.secrets / "session.key", secrets.token_urlsafe(48))
    secret = settings.secret_key.get_secret_value()
    if len(secret) < 32:
        raise ConfigError("PUNCTUAL_SECRET_KEY is short.", hint="Use at least 32 random characters.")
    return secret


def read_token(token: str, key: str) -> Token:
    """Read a token.

    Raises
    ------
    Unauthenticated
        When it is not one of ours, was changed, or is over.
    """
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            issuer=_ISSUER,
            options={"require": _CLAIMS},
        )
        return Token(
            str(claims["sid"]),
            str(claims["jti"]),
            str(claims["sub"]),
            str(claims["role"]),
            claims.get("chg") is True,
            float(claims["at"]),
        )
    except (jwt.InvalidTokenError, TypeError, ValueError) as error:
        raise Unauthenticated("The token is not good, or no longer.", hint="Log in again.") from error


class Sessions:
    """The sessions of a database."""

    def __init__(self, database: Database, users: Users, settings: Settings, key: str) -> None:
        self._database, self._users, self._key = database, users, key
        self._minutes = settings.session_minutes
        self._lockout = Lockout(database)

    def log_in(self, name: str, password: str, address: str) -> dict[str, Any]:
        """Start a session.

        Returns
        -------
        dict
            ``token``, ``expires_at``, ``user``, ``role``, ``must_change``.

        Raises
        ------
        Unauthenticated
            In the same words, after the same time, whether the user is unknown, the password wrong, or there were
            too many tries.
        """
        locked = self._lockout.locked(name, address)
        user = self._users.verify(name, password)  # also when locked: a wait must not be heard
        if locked or user is None:
            self._lockout.failed(name, address)
            raise Unauthenticated(_REFUSED)
        self._lockout.succeeded(name, address)
        now = SystemClock().now()
        row = SessionRow(
            id=secrets.token_hex(16),
            user=user.name,
            token_id=secrets.token_hex(16),
            created_at=now,
            expires_at=now + timedelta(minutes=self._minutes),
        )
        with self._database.session() as session:
            session.add(row)
            bump(session)
        return self._issued(row, user)

    def refresh(self, token: str) -> dict[str, Any]:
        """Exchange a good token for a new one.

        Raises
        ------
        Unauthenticated
            When it is not good; when it was exchanged before, its session ends as well.
        """
        shown = read_token(token, self._key)
        now = SystemClock().now()
        stolen = False
        with self._database.session() as session:
            row = session.get(SessionRow, shown.session, with_for_update=True)
            user = session.get(User, row.user) if row else None
            if row is None or user is None or row.revoked_at is not None or row.expires_at <= now:
                raise Unauthenticated("The session is over.", hint="Log in again.")
            if row.token_id != shown.id:
                row.revoked_at = now
                stolen = True
            elif now - row.created_at > _LONGEST:
                raise Unauthenticated("The session has lasted long enough.", hint="Log in again.")
            else:
                row.token_id = secrets.token_hex(16)
                row.expires_at = now + timedelta(minutes=self._minutes)
            bump(session)
        if stolen:
            raise Unauthenticated("The token was exchanged before: the session is over.", hint="Log in again.")
        return self._issued(row, user)

    def end(self, session_id: str) -> None:
        """End a session; one that is over stays over."""
        with self._database.session() as session:
            row = session.get(SessionRow, session_id)
            if row is not None and row.revoked_at is None:
                row.revoked_at = SystemClock().now()
                bump(session)

    def _issued(self, row: SessionRow, user: User) -> dict[str, Any]:
        now = SystemClock().now()
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": user.name,
            "sid": row.id,
            "jti": row.token_id,
            "role": user.role,
            "chg": user.must_change,
            "iat": now,
            "exp": row.expires_at,
            "at": now.timestamp(),
        }
        return {
            "token": jwt.encode(claims, self._key, algorithm=_ALGORITHM),
            "expires_at": row.expires_at,
            "user": user.name,
            "role": user.role,
            "must_change": user.must_change,
        }
