"""The services as the dashboard calls them: over HTTP, as the person who is logged in, and never for long."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from core.client import DataClient, PredictionClient, TrainingClient
from core.errors import Unauthenticated
from core.http import HttpClient
from core.places import PORTS, Name, service_url
from core.settings import get_settings
from dashboard.health import Board
from dashboard.session import Session, Sessions

if TYPE_CHECKING:
    from core.http import Answer
    from core.settings import Settings

_TIMEOUT = httpx.Timeout(10.0, connect=1.0)
_QUICK = httpx.Timeout(0.3)  # for what every page waits for
_Client = TypeVar("_Client", DataClient, PredictionClient, TrainingClient)


class Services:
    """One client a service, shared by everybody: a breaker that opened for one has opened for all.

    Parameters
    ----------
    settings : Settings
        Where the services are.
    """

    def __init__(self, settings: Settings) -> None:
        self._http = {name: _client(settings, name, _TIMEOUT) for name in PORTS}
        self._quick = _client(settings, "data", _QUICK)
        self.board = Board(settings)
        self.sessions = Sessions(self._http["data"], quick=self._quick, away=lambda: self.board["data"].state == "down")

    def http(self, name: Name) -> HttpClient:
        """Return a service's client, which shows no key."""
        return self._http[name]

    def close(self) -> None:
        """Close the connections."""
        self.board.close()
        for client in (self._quick, *self._http.values()):
            client.close()


class Caller:
    """Calls the services as somebody who is logged in: what they may do, the services decide.

    Parameters
    ----------
    services : Services
        What to call.
    session : Session
        Whose token to show.
    """

    def __init__(self, services: Services, session: Session) -> None:
        self._services, self._session = services, session

    def call(
        self,
        name: Name,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return a service's answer.

        Raises
        ------
        ServiceUnavailable
            At once where the service was found to be down just now; else as :meth:`core.http.HttpClient.call`.
        PunctualError
            The service's refusal, in its words.
        """
        self._services.board.check(name)
        token = self._session.token
        try:
            return self._as(name, token).call(method, path, json=json, params=params, headers=headers)
        except Unauthenticated:
            # The token may have been exchanged for a newer one between our look at it and the service's.
            if self._session.token == token:
                raise
            return self._as(name, self._session.token).call(method, path, json=json, params=params, headers=headers)

    def get(self, name: Name, path: str, **params: Any) -> Any:
        """Return what a service tells; parameters that are None are left out."""
        return self.call(name, "GET", path, params={k: v for k, v in params.items() if v is not None}).json()

    def send(self, name: Name, method: str, path: str, body: Any = None) -> Any:
        """Have a service change something, and return its answer."""
        return self.call(name, method, path, json=body).json()

    def client(self, kind: type[_Client]) -> _Client:
        """Return a typed client of :mod:`core.client` that calls as this person."""
        return kind(self._as(kind.name, self._session.token))

    def _as(self, name: Name, token: str) -> HttpClient:
        return self._services.http(name).showing(token)


def _client(settings: Settings, name: Name, timeout: httpx.Timeout) -> HttpClient:
    return HttpClient(service_url(settings, name), name, certificate=settings.tls_cert, timeout=timeout)


@lru_cache(maxsize=1)
def services() -> Services:
    """Return this process's services, as the settings name them."""
    return Services(get_settings())
