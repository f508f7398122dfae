"""Runs a service on uvicorn: a free port or a clear error, TLS, metrics over all workers, and an orderly end."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError, PortInUse, PunctualError
from core.processes import follow_standard_input
from core.worker import create

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from core.repo import FeatureRepo
    from core.settings import Settings

METRICS_DIR = "PUNCTUAL_METRICS_DIR"  # set for workers, who count there together: see core.service.metrics
_START_SECONDS = 120  # for a worker to serve, on the slowest machine
_IDLE_SECONDS = 75  # longer than clients keep a connection: one that they are about to use must not be closing
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
            raise _taken(settings, port, setting, error) from error


def _taken(settings: Settings, port: int, setting: str, error: OSError) -> PortInUse:
    return PortInUse(
        f"Port {port} on {settings.host} is taken ({error.strerror}).",
        hint=f"Stop what listens there, or choose another with PUNCTUAL_{setting.upper()}.",
    )


def run(target: str, repo: FeatureRepo, settings: Settings, *, name: str, setting: str, workers: int = 1) -> None:
    """Serve until SIGTERM or SIGINT; requests in hand are finished before it returns.

    Parameters
    ----------
    target : str
        ``module:function`` that makes the app of a repo and settings, in each worker; see :mod:`core.worker`.
    repo : FeatureRepo
        What the workers serve; they find it in the environment.
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
    # Workers build the app from the environment: whatever this process was told, they must see.
    os.environ["PUNCTUAL_FEATURE_REPO"] = str(repo.layout.repo)
    check_port(settings, int(getattr(settings, setting)), setting)  # before the folder of one that runs is emptied
    if workers > 1:
        os.environ[METRICS_DIR] = str(_empty(repo.layout.run / f"metrics-{name}"))
    make = partial(create, target)
    supervise(make, settings, name=f"{name} service", setting=setting, workers=workers, ws="none")


def supervise(
    make: str | Callable[[], ASGIApp],
    settings: Settings,
    *,
    name: str,
    setting: str,
    workers: int = 1,
    stop_seconds: int = 40,
    **options: Any,
) -> None:
    """Keep workers serving an app until SIGTERM or SIGINT; one that ends by itself is started again.

    Parameters
    ----------
    make : str or callable
        Makes the app, in each worker; as ``module:function``, or what can be pickled.
    settings : Settings
        Host, TLS, and in ``setting`` the port.
    name : str
        What it is called when it cannot be started.
    workers : int
        Worker processes.
    stop_seconds : int
        How long requests in hand, and open WebSockets, may last after the signal.
    **options
        More of ``uvicorn.Config``.

    Raises
    ------
    PortInUse, ConfigError
        Before anything listens.
    PunctualError
        When the app cannot be started.
    """
    from uvicorn import Config
    from uvicorn.config import STARTUP_FAILURE

    from core.protocol import BoundedHttp
    from core.supervisor import Supervisor

    port = int(getattr(settings, setting))
    check_port(settings, port, setting)
    cert, key = tls_files(settings)
    if os.environ.pop(TIED, None):
        follow_standard_input()
    config = Config(
        make,
        factory=True,
        host=settings.host,
        port=port,
        workers=workers,
        http=BoundedHttp,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # core.service.harden knows whom to believe
        server_header=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=stop_seconds,
        timeout_worker_healthcheck=_START_SECONDS,  # SIGHUP replaces workers one by one, each when its heir serves
        ssl_certfile=cert,
        ssl_keyfile=key,
        ssl_context_factory=_tls if cert else None,
        **options,
    )
    try:
        supervisor = Supervisor(config)
    except OSError as error:
        raise _taken(settings, port, setting, error) from error
    supervisor.run()
    if not supervisor.served and any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise PunctualError(f"The {name} could not be started.", hint="The lines above say why.")


def _tls(_: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


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
