"""uvicorn's parent of workers, which starts them again when they end by themselves."""

from __future__ import annotations

import logging

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

log = logging.getLogger("punctual.service")


class Supervisor(Multiprocess):
    """The parent; see :func:`core.server.supervise`."""

    def keep_subprocess_alive(self) -> None:
        """Start workers again that have ended, unless they could not even start.

        uvicorn's own way also asks each worker whether it is well, and waits for the answer: one that is busy would be
        killed, and one that dies meanwhile would hold up everything else.
        """
        for place, worker in enumerate(self.processes):
            if worker.process.is_alive():
                continue
            if worker.exitcode == STARTUP_FAILURE:
                self.should_exit.set()
                return
            log.error("a worker ended by itself and is started again", extra={"exit_code": worker.exitcode})
            self.processes[place] = Process(self.config, self.sockets)
            self.processes[place].start()

    def terminate_all(self) -> None:
        """Stop listening, and then the workers: nobody is to wait in a queue that no worker looks into."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()
