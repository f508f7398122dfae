"""Runs the prediction service on granian."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from core.errors import PortInUse

if TYPE_CHECKING:
    from core.repo import FeatureRepo
    from core.settings import Settings


def check_port(settings: Settings) -> None:
    """Make sure that the service's port is free.

    Raises
    ------
    PortInUse
        Naming the port and the setting that changes it.
    """
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise PortInUse(
                f"Port {settings.port} on {settings.host} is taken ({error.strerror}).",
                hint="Stop what listens there, or choose another with PUNCTUAL_PORT.",
            ) from error


def run(repo: FeatureRepo, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in hand are finished and the log is written before it returns.

    Raises
    ------
    PortInUse, ConfigError, ModelUnavailable
        Before anything listens.
    """
    from granian import Granian
    from granian.constants import Interfaces, Loops

    from serving.app import build_app

    check_port(settings)
    # One row needs no team of threads: on a busy machine OpenMP's threads wait for each other, for 100 ms instead of 1.
    # Said before the model's libraries are loaded, which ask only then.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # A worker that cannot start says so in a trace; what can go wrong is tried here, where it is one clear line.
    build_app(repo, settings)
    # Workers build the app from the environment: whatever this process was told, they must see.
    os.environ["PUNCTUAL_FEATURE_REPO"] = str(repo.layout.repo)
    Granian(
        "serving.app:create",
        factory=True,
        address=settings.host,
        port=settings.port,
        workers=settings.workers,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop if _has_uvloop() else Loops.auto,
        websockets=False,
        log_enabled=False,
        workers_kill_timeout=40,
        backlog=2048,
    ).serve()


def _has_uvloop() -> bool:
    from importlib.util import find_spec

    return find_spec("uvloop") is not None
