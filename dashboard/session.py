"""Who is logged in: sessions that live here, each behind a random cookie, each with a token that never leaves.

The browser holds 256 random bits and nothing else. The token that they stand for is the data service's: it is shown to
the services, exchanged for a newer one while its owner is at work, and ended by them.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from core.clock import SystemClock
from core.errors import PunctualError, Unauthenticated

if TYPE_CHECKING:
    from core.clock import Clock
    from core.http import HttpClient

log = logging.getLogger("punctual.dashboard")

LONGEST = timedelta(hours=12)  # as the services': after that one must log in again
_CHECKED_SECONDS = 1.0
_REFRESHED_SECONDS = 10.0
_PATIENCE_SECONDS = 0.3  # for another tab that asks about the same session
_MOST = 10_000
_REMEMBERED = 500


@dataclass
class Session:
    """Somebody who is logged in.

    Attributes
    ----------
    user, role : str
        Their name, and ``admin`` or ``user``: what pages to offer. What they may do, the services decide.
    must_change : bool
        Whether they must choose a password before anything else.
    token : str
        What to show to the services.
    made_at, expires_at : datetime
        Of the token, UTC.
    form_token : str
        What a form must send back to be theirs.
    history : deque of dict
        What they predicted here, newest first.
    checked : float
        When the data service was last asked about it, whether or not it answered; by ``time.monotonic``.
    refresh_from : float
        Before that, no newer token is asked for again.
    """

    user: str
    role: str
    must_change: bool
    token: str
    made_at: datetime
    expires_at: datetime
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    history: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    checked: float = float("-inf")
    refresh_from: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_admin(self) -> bool:
        """Whether the administrators' pages are offered."""
        return self.role == "admin" and not self.must_change

    def take(self, answer: dict[str, Any], now: datetime) -> None:
        """Take over what the data service said at log-in, or gave for an older token."""
        self.user, self.role = str(answer["user"]), str(answer["role"])
        self.must_change = bool(answer["must_change"])
        self.made_at, self.expires_at = now, datetime.fromisoformat(answer["expires_at"])
        self.token = str(answer["token"])
        self.checked = time.monotonic()


class Sessions:
    """The sessions of this dashboard, in memory: a restart ends them here, and time ends them at the services.

    Parameters
    ----------
    data : HttpClient
        The data service, which keeps accounts.
    clock : Clock, optional
        By which tokens end; by default the machine's.
    quick : HttpClient, optional
        The same service, asked whether a session goes on: pages wait for that, so it should give up soon, and with a
        breaker of its own. By default ``data``.
    away : callable, optional
        Says whether the service was found to be down just now, so that nobody waits for it.
    """

    def __init__(
        self,
        data: HttpClient,
        clock: Clock | None = None,
        *,
        quick: HttpClient | None = None,
        away: Callable[[], bool] = lambda: False,
    ) -> None:
        self._data, self._clock = data, clock or SystemClock()
        self._quick, self._away = quick or data, away
        self._by_digest: dict[str, Session] = {}

    def log_in(self, user: str, password: str, address: str) -> str:
        """Start a session and return its cookie.

        Parameters
        ----------
        user, password : str
            As they were typed.
        address : str
            Where from: passed on, so that back-off counts browsers and not the dashboard.

        Raises
        ------
        Unauthenticated
            When user or password is wrong, or there were too many tries.
        PunctualError
            When the data service is away, or refuses for another reason.
        """
        body = {"user": user, "password": password}
        return self._keep(_answered(self._data, "/auth/login", body, address))

    def change_password(self, cookie: str, old: str, new: str, address: str) -> str:
        """Change one's own password, which ends all sessions of theirs; return the cookie of a new one.

        Raises
        ------
        PunctualError
            The data service's refusal: the old one is wrong, the new one easy to guess.
        """
        session = self._by_digest[_digest(cookie)]
        answer = _answered(self._data.showing(session.token), "/auth/password", {"old": old, "new": new}, address)
        self._by_digest.pop(_digest(cookie), None)
        return self._keep(answer)

    def log_in_by_identity(self, id_token: str, nonce: str, address: str) -> str:
        """Start a session by what an OIDC provider says of somebody, and return its cookie; see :meth:`log_in`."""
        return self._keep(_answered(self._data, "/auth/oidc", {"id_token": id_token, "nonce": nonce}, address))

    def forgot(self, user: str, address: str) -> None:
        """Ask for a link to a new password, by a user name or a mail address; what comes of it nobody is told.

        Raises
        ------
        PunctualError
            When the data service is away, or was asked too often.
        """
        _answered(self._data, "/auth/forgot", {"user": user}, address)

    def reset(self, token: str, password: str, address: str) -> None:
        """Set a new password by what a link holds; all sessions of its user end.

        Raises
        ------
        PunctualError
            The data service's refusal: the link is not good any more, the password easy to guess.
        """
        _answered(self._data, "/auth/reset", {"token": token, "password": password}, address)

    def find(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie, None when it is over; it asks nobody."""
        if not cookie:
            return None
        digest = _digest(cookie)
        session = self._by_digest.get(digest)
        if session is not None and self._clock.now() >= session.expires_at:
            self._by_digest.pop(digest, None)
            return None
        return session

    def check(self, cookie: str | None, *, active: bool = False) -> Session | None:
        """Return the session of a cookie if the data service still says so, at most a second ago.

        While that service is away, or slow, the session goes on until its token ends: all services check it too. It is
        asked at most once a second, whether or not it answers, since a page draws nothing before this returns.

        Parameters
        ----------
        cookie : str, optional
            What the browser sent.
        active : bool
            Whether its owner is at work: their token is then exchanged for a newer one in time. A page that looks
            after itself does not keep anybody logged in.
        """
        session = self.find(cookie)
        if session is None or cookie is None:
            return None
        if self._away() or not session.lock.acquire(timeout=_PATIENCE_SECONDS):
            return session
        try:
            self._ask(session, active=active)
        except Unauthenticated:
            self._by_digest.pop(_digest(cookie), None)
            return None
        except PunctualError as error:
            log.warning("a session could not be checked", extra={"user": session.user, "detail": str(error)})
        finally:
            session.lock.release()
        return session

    def log_out(self, cookie: str | None) -> None:
        """End a session, here and at the services."""
        session = self._by_digest.pop(_digest(cookie), None) if cookie else None
        if session is None:
            return
        try:
            self._data.showing(session.token).call("POST", "/auth/logout", retry=True)
        except PunctualError as error:  # it is over here, and its token is known to nobody else
            log.warning("a log-out could not be passed on", extra={"user": session.user, "detail": str(error)})

    def __len__(self) -> int:
        return len(self._by_digest)

    def _keep(self, answer: dict[str, Any]) -> str:
        now = self._clock.now()
        cookie = secrets.token_urlsafe(32)
        for digest, old in list(self._by_digest.items()):
            if now >= old.expires_at:
                self._by_digest.pop(digest, None)
        while len(self._by_digest) >= _MOST:
            self._by_digest.pop(next(iter(self._by_digest)))
        session = Session("", "user", True, "", now, now)
        session.take(answer, now)
        self._by_digest[_digest(cookie)] = session
        return cookie

    def _ask(self, session: Session, *, active: bool) -> None:
        now = time.monotonic()
        newer = active and self._half_over(session) and now >= session.refresh_from
        if not newer and now - session.checked <= _CHECKED_SECONDS:
            return
        session.checked = now
        if newer:
            session.refresh_from = now + _REFRESHED_SECONDS
        self._quick.showing(session.token).call("GET", "/auth/me", retry=False)
        if newer:  # not before the service is known to answer: an exchange must not be given up halfway
            session.take(self._refreshed(session), self._clock.now())

    def _half_over(self, session: Session) -> bool:
        return self._clock.now() - session.made_at > (session.expires_at - session.made_at) / 2

    def _refreshed(self, session: Session) -> dict[str, Any]:
        # Not tried again: the same old token a second time would look stolen, and end the session.
        answer = self._data.call("POST", "/auth/refresh", json={"token": session.token}, retry=False)
        return dict(answer.json())


def _answered(data: HttpClient, path: str, body: dict[str, str], address: str) -> dict[str, Any]:
    headers = {"x-forwarded-for": address} if address else None
    return dict(data.call("POST", path, json=body, headers=headers, retry=False).json())


def _digest(cookie: str) -> str:
    # What is looked up is not what is sent, so the time that a look takes tells nothing.
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()
