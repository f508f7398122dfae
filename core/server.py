"""Runs a service on granian: a free port or a clear error, TLS, metrics over all workers, and an orderly end."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError, PortInUse
from core.processes import follow_standard_input

if TYPE_CHECKING:
    from core.repo import FeatureRepo
    from core.settings import Settings

METRICS_DIR = "PUNCTUAL_METRICS_DIR"  # set for workers, who count there together: see core.service.metrics
TIED = "PUNCTUAL_TIED"  # set by who starts us: stop when standard input closes, which it does when they die


def check_port(settings: Settings, port: int, setting: str) -> None:
    """Make sure that a port is free.

    Raises
    ------
    PortInUse
        Naming the port and the setting that changes it.
    """
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, port))
        except OSError as error:
            raise PortInUse(
                f"Port {port} on {settings.host} is taken ({error.strerror}).",
                hint=f"Stop what listens there, or choose another with PUNCTUAL_{setting.upper()}.",
            ) from error


def run(target: str, repo: FeatureRepo, settings: Settings, *, name: str, setting: str, workers: int = 1) -> None:
    """Serve until SIGTERM or SIGINT; requests in hand are finished before it returns.

    Parameters
    ----------
    target : str
        ``module:factory`` of the app; each worker calls it.
    repo : FeatureRepo
        What the workers serve; they build their app from the environment.
    settings : Settings
        Host, TLS and so on.
    name, setting : str
        The service's name, and the setting that holds its port.
    workers : int
        Worker processes.

    Raises
    ------
    PortInUse, ConfigError
        Before anything listens.
    """
    from granian import Granian
    from granian.constants import Interfaces, Loops

    port = int(getattr(settings, setting))
    check_port(settings, port, setting)
    cert, key = tls_files(settings)
    # Workers build the app from the environment: whatever this process was told, they must see.
    os.environ["PUNCTUAL_FEATURE_REPO"] = str(repo.layout.repo)
    if workers > 1:
        os.environ[METRICS_DIR] = str(_empty(repo.layout.run / f"metrics-{name}"))
        # A forked worker would count as this process does: by itself. It must import the metrics anew, folder in hand.
        multiprocessing.set_start_method("spawn", force=True)
    if os.environ.pop(TIED, None):
        follow_standard_input()
    Granian(
        target,
        factory=True,
        address=settings.host,
        port=port,
        workers=workers,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop if find_spec("uvloop") else Loops.auto,
        websockets=False,
        log_enabled=False,
        workers_kill_timeout=40,
        respawn_failed_workers=True,
        backlog=2048,
        ssl_cert=cert,
        ssl_key=key,
        process_name=f"punctual-{name}" if find_spec("setproctitle") else None,
    ).serve()


def tls_files(settings: Settings) -> tuple[Path | None, Path | None]:
    """Return certificate and key, or two times None.

    Raises
    ------
    ConfigError
        When one is set without the other, or a file is not there.
    """
    if settings.tls_cert is None and settings.tls_key is None:
        return None, None
    for name in ("tls_cert", "tls_key"):
        path = getattr(settings, name)
        if path is None or not path.is_file():
            raise ConfigError(
                f"PUNCTUAL_{name.upper()}={path} is no file.",
                hint="HTTPS needs both PUNCTUAL_TLS_CERT and PUNCTUAL_TLS_KEY, in PEM.",
            )
    return settings.tls_cert, settings.tls_key


def _empty(folder: Path) -> Path:
    # What dead workers counted would be counted again.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
