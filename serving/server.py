"""Runs the prediction service: its workers, and beside them what follows a remote model registry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from core.registry_sync import RegistrySync
from core.server import run as serve

if TYPE_CHECKING:
    from core.repo import FeatureRepo
    from core.settings import Settings


def run(repo: FeatureRepo, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in hand are finished and the log is written before it returns.

    Raises
    ------
    PortInUse, ConfigError
        Before anything listens.
    """
    # One row needs no team of threads: on a busy machine OpenMP's threads wait for each other, for 100 ms instead of 1.
    # Said before the model's libraries are loaded, which ask only then.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sync = RegistrySync(repo, settings)
    sync.start()
    try:
        serve("serving.service:create", repo, settings, name="prediction", setting="port", workers=settings.workers)
    finally:
        sync.close()
