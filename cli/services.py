"""The services and the dashboard as processes: started together, watched, and stopped in order."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import httpx

from core.errors import PunctualError
from core.http import trust
from core.places import PORTS, Name, here, service_url
from core.progress import console, progress
from core.server import TIED, check_port

if TYPE_CHECKING:
    from core.settings import Settings

# What can be started: the services, and the dashboard, which needs none of them to start.
Part = Name | Literal["dashboard"]
_START_SECONDS = 240
_STOP_SECONDS = 45


@dataclass(frozen=True)
class Running:
    """What was started."""

    name: Part
    process: subprocess.Popen[bytes]


def check_ports(settings: Settings, names: Sequence[Part]) -> None:
    """Make sure that these ports are free.

    Raises
    ------
    PortInUse
        Naming the port and the setting that changes it.
    """
    for name in names:
        setting = "dashboard_port" if name == "dashboard" else PORTS[name]
        check_port(settings, int(getattr(settings, setting)), setting)


def answers(settings: Settings, name: Name) -> bool:
    """Whether a service answers where the settings say, be it ready or not."""
    try:
        httpx.get(f"{service_url(settings, name)}/health", timeout=5, verify=trust(settings.tls_cert))
    except httpx.TransportError:
        return False
    return True


@contextmanager
def running(environment: dict[str, str], names: Sequence[Part]) -> Iterator[list[Running]]:
    """Start these; stop them, the last started first, when the block ends."""
    with ExitStack() as stack:
        yield [stack.enter_context(_process(name, environment)) for name in names]


@contextmanager
def _process(name: Part, environment: dict[str, str]) -> Iterator[Running]:
    # Its own session: Ctrl-C reaches us alone, and we stop it in order, so that its log is flushed. Its standard input
    # is ours to close: should we be killed, it closes by itself and the service stops.
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *(["dashboard"] if name == "dashboard" else ["serve", name])],
        env={**os.environ, **environment, TIED: "1"},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield Running(name, process)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            console.print(f"{_called(name)} did not stop within {_STOP_SECONDS} s and was killed.")


def wait_until_ready(settings: Settings, services: Sequence[Running]) -> None:
    """Wait until every service says that it is ready.

    Raises
    ------
    PunctualError
        When one has stopped, or is not ready in time; with what it says of itself.
    """
    deadline = time.monotonic() + _START_SECONDS
    waiting, said = list(services), ""
    with (
        progress("Starting the services", total=len(services)) as advance,
        httpx.Client(timeout=5, verify=trust(settings.tls_cert)) as client,
    ):
        while waiting and time.monotonic() < deadline:
            check_alive(services)
            try:
                answer = client.get(_health(settings, waiting[0].name))
                said = answer.text
            except httpx.TransportError:
                time.sleep(0.1)  # not listening yet; the deadline bounds the wait
                continue
            if answer.status_code == httpx.codes.OK:
                advance(note=waiting.pop(0).name)
            else:
                time.sleep(0.1)
    if waiting:
        raise PunctualError(
            f"{_called(waiting[0].name)} was not ready within {_START_SECONDS} s.", hint=f"It says: {said or '-'}"
        )


def _health(settings: Settings, name: Part) -> str:
    if name == "dashboard":
        return f"{here(settings, settings.dashboard_port)}/_stcore/health"
    return f"{service_url(settings, name)}/health"


def _called(name: Part) -> str:
    return "The dashboard" if name == "dashboard" else f"The {name} service"


def watch(services: Sequence[Running]) -> None:
    """Wait until one of the services stops by itself.

    Raises
    ------
    PunctualError
        Naming it.
    """
    while True:
        check_alive(services)
        time.sleep(0.5)


def check_alive(services: Sequence[Running]) -> None:
    """Make sure that all of them run.

    Raises
    ------
    PunctualError
        Naming the one that has stopped.
    """
    for service in services:
        code = service.process.poll()
        if code is not None:
            raise PunctualError(
                f"{_called(service.name)} stopped by itself (exit code {code}).", hint="The lines above say why."
            )
