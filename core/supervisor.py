"""uvicorn's parent of workers, which starts them again when they end by themselves."""

from __future__ import annotations

from uvicorn.supervisors import Multiprocess


class Supervisor(Multiprocess):
    """The parent; see :func:`core.server.supervise`."""

    def terminate_all(self) -> None:
        """Stop listening, and then the workers: nobody is to wait in a queue that no worker looks into."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()
