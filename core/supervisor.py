"""The parent of a service's workers: it deals connections out among them, and starts them again when they end."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence

from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

log = logging.getLogger("punctual.service")

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0  # seconds until a worker that could not start is started again


class Supervisor(Multiprocess):
    """uvicorn's parent of workers; see :func:`core.server.supervise`.

    On Linux each of several workers listens on a socket of its own, and the kernel deals the connections out. On a
    socket that they share, whoever wakes first takes all that wait: of 16 connections one worker may get all.

    Raises
    ------
    OSError
        When the port is taken.
    """

    def __init__(self, config: Config) -> None:
        self._deals = config.workers > 1 and sys.platform == "linux"
        super().__init__(config, [] if self._deals else [config.bind_socket()])
        self.processes: list[_Worker] = []  # type: ignore[assignment]  # ours are made by _start alone
        self.served = False  # whether any worker ever did
        if self._deals:
            # Sockets that the kernel deals out to would be shared with a second service on the port, too. There is one
            # of this name, as long as its process lives.
            self._only = socket.socket(socket.AF_UNIX)
            self._only.bind(f"\0punctual {config.host} {config.port}")
            self.sockets = [_listener(config)]  # never listened on: it keeps the port for workers to come
        self.should_exit = _Exit(self.signal_queue)

    def init_processes(self) -> None:
        """Start the workers."""
        self.processes += [self._start() for _ in range(self.processes_num)]

    def handle_ttin(self) -> None:
        """Start one more."""
        self.processes_num += 1
        self.processes.append(self._start())

    def restart_all(self) -> None:
        """Replace the workers one by one, each once its heir serves."""
        for place, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            heir = self._start()
            if not heir.wait_until_ready(self.config.timeout_worker_healthcheck, self.should_exit):
                heir.kill()
                heir.join()
                log.error("a worker's heir did not get ready; the workers stay", extra={"exit_code": heir.exitcode})
                return
            self.served = True
            worker.terminate()
            worker.join()
            self.processes[place] = heir

    def keep_subprocess_alive(self) -> None:
        """Start workers again that have ended, unless none of them could ever start.

        Once one has served, the setting or the code is not what is wrong: something that a start needs is away, and
        the other workers do without it. Those that cannot start are tried again, less and less often.

        uvicorn's own way also asks each worker whether it is well, and waits for the answer: one that is busy would be
        killed, and one that dies meanwhile would hold up everything else.
        """
        for place, worker in enumerate(self.processes):
            if worker.process.is_alive():
                self.served = self.served or worker.serves()
                continue
            failed = worker.exitcode == STARTUP_FAILURE
            if failed and not self.served:
                self.should_exit.set()
                return
            if worker.again is None:
                worker.again = time.monotonic() + (worker.wait if failed else 0.0)
                log.error("a worker ended by itself and is started again", extra={"exit_code": worker.exitcode})
            if time.monotonic() < worker.again:
                continue
            try:
                self.processes[place] = heir = self._start()
            except OSError as error:  # somebody else listens on the port meanwhile: the next look tries again
                log.error("a worker cannot be started", extra={"error": str(error)})
                continue
            if failed:
                heir.wait = min(2 * worker.wait, _LONGEST_WAIT)

    def terminate_all(self) -> None:
        """Stop listening, and then the workers: nobody is to wait in a queue that no worker looks into.

        A worker with a socket of its own stops listening when it is told to stop.
        """
        for listening in self.sockets:
            listening.close()
        super().terminate_all()

    def _start(self) -> _Worker:
        own = [_listener(self.config)] if self._deals else self.sockets
        worker = _Worker(self.config, own)
        worker.start()
        if self._deals:
            own[0].close()  # the worker has it: it is to end with the worker, or connections would wait at it for ever
        return worker


class _Worker(Process):
    """A worker, and what the parent keeps of it.

    Attributes
    ----------
    wait : float
        Seconds until it is started again, should it be unable to start.
    again : float, optional
        When it is started again (monotonic time), once it has ended.
    """

    wait = _FIRST_WAIT
    again: float | None = None
    _asked = False

    def serves(self) -> bool:
        """Say whether it has told us that it serves. It is asked, and not waited for: a later look hears the answer."""
        try:
            if not self._asked:
                self.parent_conn.send(b"ping")
                self._asked = True
            if not self.parent_conn.poll(0):
                return False
            self._asked = False
            return bool(self.parent_conn.recv())
        except (OSError, EOFError):  # it dies just now
            return False


def _listener(config: Config) -> socket.socket:
    """Return a socket on the port, one of those that the kernel deals connections out to once they listen."""
    listener = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((config.host, config.port))
    listener.set_inheritable(True)
    return listener


class _Exit(threading.Event):
    """Set also while a signal to stop waits to be handled: whoever replaces workers looks here alone."""

    def __init__(self, signals: Sequence[int]) -> None:
        super().__init__()
        self._signals = signals

    def is_set(self) -> bool:
        return super().is_set() or signal.SIGTERM in self._signals or signal.SIGINT in self._signals
