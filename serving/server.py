"""Runs the prediction service: its workers, and beside them what need not be done by them."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from core.registry_sync import RegistrySync
from core.server import check_port
from core.server import run as serve
from serving.batch_worker import BatchWorker
from serving.log import PREDICTIONS
from serving.parts import ELSEWHERE, Gatherer
from serving.shadow import SCORED

if TYPE_CHECKING:
    from core.repo import FeatureRepo
    from core.settings import Settings

log = logging.getLogger("punctual.batch")


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
    # The processes beside the workers read their settings from the environment, as those do.
    os.environ["PUNCTUAL_FEATURE_REPO"] = str(repo.layout.repo)
    check_port(settings, settings.port, "port")  # before anything is started
    os.environ[ELSEWHERE] = "1"
    layout = repo.layout
    sync, batches = RegistrySync(repo, settings), BatchWorker(log.warning)
    gatherer = Gatherer({layout.predictions: PREDICTIONS, layout.shadow: SCORED})
    sync.start()
    batches.start()
    gatherer.start()
    try:
        serve("serving.service:build_app", repo, settings, name="prediction", setting="port", workers=settings.workers)
    finally:
        batches.close()
        sync.close()
        gatherer.close()
