"""Log-in by OIDC: a good ID token is exchanged for a session of the user whom it names here, once."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete

from core.auth import emails, passwords
from core.auth.audit import record
from core.auth.revision import changing
from core.auth.users import get
from core.clock import SystemClock
from core.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from core.oidc import LEEWAY, OLDEST, Provider, client_of, refused
from core.tables import UsedToken, User

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from core.auth.sessions import Sessions
    from core.auth.users import Users
    from core.clock import Clock
    from core.database import Database
    from core.oidc import OidcClient
    from core.settings import Settings

_BY = "oidc"
_UNKNOWN = "unknown user"
_EMAIL = "email"


class OidcLogin:
    """Log-in with an identity of the provider that the settings name.

    Parameters
    ----------
    database : Database
        Where the accounts are.
    users, sessions : Users, Sessions
        Who may log in, and what is started.
    settings : Settings
        The provider, and which claim names a user.
    clock : Clock, optional
        By default the machine's.

    Raises
    ------
    ConfigError
        When the settings are not whole.
    """

    def __init__(
        self, database: Database, users: Users, sessions: Sessions, settings: Settings, clock: Clock | None = None
    ) -> None:
        self._database, self._users, self._sessions = database, users, sessions
        self._clock = clock or SystemClock()
        self._client = client_of(settings)
        self._provider = Provider(self._client.issuer, clock) if self._client else None

    def log_in(self, id_token: str, nonce: str, address: str) -> dict[str, Any]:
        """Start a session, as by :meth:`core.auth.sessions.Sessions.log_in`.

        Parameters
        ----------
        id_token, nonce : str
            What the provider gave, and what it was asked with.
        address : str
            Where from.

        Raises
        ------
        NotFound
            When no provider is configured.
        Unauthenticated
            In the same words whether the token is not good or was used, or its user is unknown or disabled.
        ServiceUnavailable
            When the provider does not tell its keys.
        """
        if self._client is None or self._provider is None:
            raise NotFound("There is no log-in by OIDC here.", hint="See PUNCTUAL_OIDC_ISSUER.")
        try:
            claims = self._provider.verify(id_token, self._client.id, nonce)
            user = self._admitted(self._client, claims, id_token)
        except Unauthenticated:
            with self._database.session() as session:
                record(session, _UNKNOWN, "log in", "session", "refused", detail={"by": _BY}, address=address)
            raise
        return self._sessions.begin(user, address, by=_BY)

    def _admitted(self, client: OidcClient, claims: dict[str, Any], id_token: str) -> User:
        with self._database.session(reading=True) as session:
            user = _named(session, client, claims)
        if user is None:
            user = self._created(client, claims)
        thrown = passwords.hashed(passwords.made_up()) if user.must_change else None
        until = self._clock.now() + timedelta(seconds=OLDEST + 2 * LEEWAY)  # after that it is too old
        with changing(self._database) as session:
            session.execute(delete(UsedToken).where(UsedToken.expires_at < self._clock.now()))
            digest = hashlib.sha256(id_token.encode()).hexdigest()
            row = get(session, user.name)
            if row is None or row.disabled_at is not None or session.get(UsedToken, digest) is not None:
                raise refused()
            session.add(UsedToken(digest=digest, expires_at=until))
            if row.must_change and thrown is not None:
                # A password that somebody else made up, and that its user does not need: nobody has it any more.
                self._users.set_hash(session, row, thrown, must_change=False)
                record(session, _BY, "made-up password thrown away", row.name)
        return row

    def _created(self, client: OidcClient, claims: dict[str, Any]) -> User:
        if not client.create:
            raise refused()
        value = _value(client, claims)
        email = value if client.claim == _EMAIL else None
        try:
            self._users.add(value, "user", passwords.made_up(), by=_BY, email=email)
        except (Conflict, InvalidRequest) as error:  # a name that is somebody else's, or cannot be one
            raise refused() from error
        with self._database.session(reading=True) as session:
            return session.get_one(User, value)


def _named(session: Session, client: OidcClient, claims: dict[str, Any]) -> User | None:
    """Return the user of an identity: by their mail address if that is the claim, else by their name alone."""
    value = _value(client, claims)
    return emails.holder(session, value) if client.claim == _EMAIL else get(session, value)


def _value(client: OidcClient, claims: dict[str, Any]) -> str:
    value = claims.get(client.claim)
    # Anybody can write any address into some directories: the provider must say that it has seen to it.
    if not isinstance(value, str) or (client.claim == _EMAIL and claims.get("email_verified") is not True):
        raise refused()
    return value.strip().lower() if client.claim == _EMAIL else value
