"""The process that predicts by the file: beside the workers, and behind them wherever the processor is wanted.

Run as ``python -m serving.batch_worker`` by :mod:`serving.server`; stops when its standard input closes, which it does
by itself when the service dies.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from core.clock import SystemClock
from core.errors import DatabaseUnavailable
from core.logs import setup_logs
from core.processes import follow_standard_input
from core.repo import FeatureRepo
from core.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("punctual.batch")

_NICE = 10
_STOP_SECONDS = 20.0
_AGAIN_SECONDS = 5.0
_SWEEP_SECONDS = 3600.0


class BatchWorker:
    """Keeps that process running.

    Parameters
    ----------
    say : callable
        Told when it has ended by itself, and is started again.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batch-worker", daemon=True)

    def start(self) -> None:
        """Start it; from now on it is started again whenever it ends."""
        self._thread.start()

    def close(self) -> None:
        """Stop it: what it is at work on goes on at the next start."""
        self._stop.set()
        self._thread.join(_STOP_SECONDS + 5)

    def _run(self) -> None:
        while not self._stop.is_set():
            process = subprocess.Popen([sys.executable, "-m", "serving.batch_worker"], stdin=subprocess.PIPE)
            self._process = process
            while process.poll() is None and not self._stop.wait(0.5):
                pass
            if self._stop.is_set():
                self._end(process)
                return
            self._say(f"the batch worker ended by itself (exit code {process.returncode}) and is started again")
            self._stop.wait(_AGAIN_SECONDS)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    """Work on the queue until standard input closes or SIGTERM comes."""
    os.nice(_NICE)
    follow_standard_input()  # first of all: until there is something to lose, the end is at once
    settings = get_settings()
    setup_logs(settings.log_level, settings.log_format)
    from serving import uploads
    from serving.batch import jobs_of

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    repo = FeatureRepo.load(settings.feature_repo)
    jobs = jobs_of(repo, settings)
    while not stop.is_set():
        try:
            jobs.launch()
            break
        except DatabaseUnavailable as error:
            log.warning("predictions by the file wait for the jobs' store: %s", error)
            stop.wait(_AGAIN_SECONDS)
    while not stop.is_set():
        uploads.sweep(repo.layout, SystemClock().now() - timedelta(days=settings.keep_batch_days))
        stop.wait(_SWEEP_SECONDS)
    jobs.close()


if __name__ == "__main__":
    main()
