"""Session tokens: JSON Web Tokens that we sign and only we read, one algorithm, no other header believed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jwt

from core.auth.principal import ROLES, SELF, Principal
from core.clock import SystemClock
from core.errors import ConfigError, Unauthenticated
from core.files import make_secret

if TYPE_CHECKING:
    from datetime import datetime

    from core.clock import Clock
    from core.layout import Layout
    from core.settings import Settings

_ISSUER = _AUDIENCE = "punctual"
_ALGORITHM = "HS256"
_CLAIMS = ["exp", "iat", "sub", "sid", "jti", "role", "at"]
# Ends and beginnings are compared with our own clock below.
_OPTIONS = {"require": _CLAIMS, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
_SHORTEST_SECRET = 32


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was read: its signature, issuer, audience and end are good.

    Attributes
    ----------
    session, id, user, role : str
        The session, this token of it, whose it is, and their role when it was made.
    must_change : bool
        Whether the user must change their password before anything else.
    at, until : float
        When it was made and when it ends, seconds since 1970.
    """

    session: str
    id: str
    user: str
    role: str
    must_change: bool
    at: float
    until: float

    @property
    def principal(self) -> Principal:
        """Who shows it."""
        return principal_of(self.session, self.user, self.role, must_change=self.must_change)


def principal_of(session: str, user: str, role: str, *, must_change: bool) -> Principal:
    """Return who a session stands for; with a password that must be changed it can do just that."""
    scopes = frozenset((SELF,)) if must_change else ROLES.get(role, frozenset((SELF,)))
    return Principal(session, user, "session", scopes, owner=user)


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
    if len(secret) < _SHORTEST_SECRET:
        raise ConfigError(
            f"PUNCTUAL_SECRET_KEY has {len(secret)} characters.", hint=f"Use at least {_SHORTEST_SECRET} random ones."
        )
    return secret


class Tokens:
    """Makes and reads tokens.

    Parameters
    ----------
    secret : str
        Signs them.
    clock : Clock, optional
        By which they end; by default the machine's.
    """

    def __init__(self, secret: str, clock: Clock | None = None) -> None:
        self._secret, self._clock = secret, clock or SystemClock()

    def make(self, session: str, token_id: str, user: str, role: str, *, must_change: bool, until: datetime) -> str:
        """Return a token. Call it when its session is in the database: guards rely on that order."""
        now = self._clock.now()
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": user,
            "sid": session,
            "jti": token_id,
            "role": role,
            "chg": must_change,
            "iat": now,
            "exp": until,
            "at": now.timestamp(),  # as iat, but to the microsecond
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def read(self, token: str | bytes) -> Token:
        """Read a token.

        Raises
        ------
        Unauthenticated
            When it is not one of ours, was changed, or is over.
        """
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                issuer=_ISSUER,
                options=_OPTIONS,  # type: ignore[arg-type]  # a TypedDict there
            )
            found = Token(
                str(claims["sid"]),
                str(claims["jti"]),
                str(claims["sub"]),
                str(claims["role"]),
                claims.get("chg") is True,
                float(claims["at"]),
                float(claims["exp"]),
            )
        except (jwt.InvalidTokenError, TypeError, ValueError) as error:
            raise refused() from error
        if not found.until > self._clock.now().timestamp():  # also when it is no number
            raise refused()
        return found


def refused() -> Unauthenticated:
    """Return the one error of all keys and tokens that are not good: it does not say why."""
    return Unauthenticated("That key or token is not good.", hint="It may have expired or been revoked.")
