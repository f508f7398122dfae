"""uvicorn's parent of workers, which starts them again when they end by themselves."""

from __future__ import annotations

import logging
import socket
import sys

from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

log = logging.getLogger("punctual.service")


class Supervisor(Multiprocess):
    """The parent; see :func:`core.server.supervise`.

    On Linux each of several workers listens on a socket of its own, and the kernel deals out the connections. On a
    socket that they share, whoever wakes first takes all that wait: of 16 connections one worker may get all.

    Raises
    ------
    OSError
        When the port is taken.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._deals = config.workers > 1 and sys.platform == "linux"
        # Ours is never listened on where each has its own: it only keeps the port for workers to come.
        self._bound = [self._bind() if self._deals else config.bind_socket()]
        self._given: list[socket.socket] = []
        super().__init__(config, self._bound)

    @property
    def sockets(self) -> list[socket.socket]:
        """What the next worker is to listen on."""
        if not self._deals:
            return self._bound
        self._given.append(self._bind())
        return self._given[-1:]

    @sockets.setter
    def sockets(self, _: list[socket.socket]) -> None:
        """Let the parent's constructor set what is known already."""

    def _bind(self) -> socket.socket:
        own = socket.socket(socket.AF_INET6 if ":" in self._config.host else socket.AF_INET)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        own.bind((self._config.host, self._config.port))
        own.set_inheritable(True)
        return own

    def _hand_over(self) -> None:
        """Close our side of what workers listen on: a socket is to end with its worker, or connections wait at it."""
        for given in self._given:
            given.close()
        self._given.clear()

    def init_processes(self) -> None:
        """Start the workers."""
        super().init_processes()
        self._hand_over()

    def keep_subprocess_alive(self) -> None:
        """Start workers again that have ended, unless they could not even start.

        uvicorn's own way also asks each worker whether it is well, and waits for the answer: one that is busy would be
        killed, and one that dies meanwhile would hold up everything else.
        """
        self._hand_over()  # of those that a signal had started
        for place, worker in enumerate(self.processes):
            if worker.process.is_alive():
                continue
            if worker.exitcode == STARTUP_FAILURE:
                self.should_exit.set()
                return
            log.error("a worker ended by itself and is started again", extra={"exit_code": worker.exitcode})
            self.processes[place] = Process(self.config, self.sockets)
            self.processes[place].start()
            self._hand_over()

    def terminate_all(self) -> None:
        """Stop listening, and then the workers: nobody is to wait in a queue that no worker looks into."""
        for listening in self._bound:
            listening.close()
        super().terminate_all()
