"""How the services are: looked at beside the pages, so that no page waits for one that is down."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import httpx
import orjson

from core.clock import SystemClock
from core.errors import ServiceUnavailable
from core.http import trust
from core.places import PORTS, Name, service_url

if TYPE_CHECKING:
    from core.settings import Settings

log = logging.getLogger("punctual.dashboard")

LOOK_SECONDS = 2.0
_TIMEOUT = httpx.Timeout(2.0, connect=0.5)
State = Literal["up", "degraded", "down", "unknown"]


@dataclass(frozen=True)
class Health:
    """One service, as it was at the last look.

    Attributes
    ----------
    state : {"up", "degraded", "down", "unknown"}
        Degraded: it answers, and something that it depends on is not as it should be. Down: it does not answer.
    detail : str
        What is wrong, in words.
    dependencies : dict
        What it says of each thing that it depends on.
    milliseconds : float
        How long the answer took.
    seen_at : datetime or None
        When it was looked at, UTC.
    last_error, last_error_at : str, datetime or None
        The newest thing that was wrong, also when it is over.
    """

    name: Name
    state: State = "unknown"
    detail: str = ""
    dependencies: dict[str, dict[str, Any]] | None = None
    milliseconds: float = 0.0
    seen_at: datetime | None = None
    last_error: str = ""
    last_error_at: datetime | None = None


class Board:
    """The health of every service.

    Parameters
    ----------
    settings : Settings
        Where they are.
    """

    def __init__(self, settings: Settings) -> None:
        self._client = httpx.Client(timeout=_TIMEOUT, verify=trust(settings.tls_cert))
        self._urls = {name: service_url(settings, name) for name in PORTS}
        self._now = {name: Health(name) for name in PORTS}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="health", daemon=True)

    def start(self) -> None:
        """Begin to look, every two seconds."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)
        self._client.close()

    def all(self) -> list[Health]:
        """Return every service as it was at the last look."""
        return list(self._now.values())

    def __getitem__(self, name: Name) -> Health:
        return self._now[name]

    def check(self, name: Name) -> None:
        """Refuse to wait for a service that was found to be down.

        Raises
        ------
        ServiceUnavailable
            When it was.
        """
        health = self._now[name]
        if health.state == "down":
            raise ServiceUnavailable(f"The {name} service is down: {health.detail}", hint="This part waits for it.")

    def look(self) -> None:
        """Look at every service once, all at the same time."""
        with ThreadPoolExecutor(len(PORTS)) as pool:
            for health in pool.map(self._look, PORTS):
                self._now[health.name] = health

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except Exception:  # whatever it was, the next look may be better
                log.exception("the services could not be looked at")
            self._stop.wait(LOOK_SECONDS)

    def _look(self, name: Name) -> Health:
        before, now = self._now[name], SystemClock().now()
        try:
            answer = self._client.get(f"{self._urls[name]}/health")
            said = orjson.loads(answer.content)
            dependencies = dict(said["dependencies"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            words = str(error) or type(error).__name__
            found = Health(name, "down", f"it does not answer ({words}).", seen_at=now)
        else:
            bad = {n: d for n, d in dependencies.items() if d.get("status") != "ok"}
            words = " ".join(f"{n}: {d.get('detail', d.get('status'))}" for n, d in bad.items())
            state: State = "degraded" if bad else "up"
            took = answer.elapsed.total_seconds() * 1000
            found = Health(name, state, words, dependencies, took, now)
        if found.detail:
            return replace(found, last_error=found.detail, last_error_at=now)
        return replace(found, last_error=before.last_error, last_error_at=before.last_error_at)
