"""An end to requests whose answer takes too long to begin: as ``asyncio.timeout``, with one timer for all of them.

A timer for each request would take it twenty microseconds, which is as much as its answer takes to write.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Deadlines:
    """What is under way, in the order in which it began; all of it has the same time.

    Parameters
    ----------
    seconds : float
        How long each may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._under_way: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> Deadline:
        """Return the deadline of what is begun now, to be entered with ``with``, which may raise a TimeoutError."""
        return Deadline(self)

    def _enter(self, deadline: Deadline) -> None:
        loop = asyncio.get_running_loop()
        deadline.due = loop.time() + self._seconds
        self._under_way[deadline] = None
        if self._timer is None or self._loop is not loop:  # a new event loop knows nothing of the old one's timer
            self._loop = loop
            self._timer = loop.call_at(deadline.due, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for deadline in list(self._under_way):
            if deadline.due > loop.time():
                self._timer = loop.call_at(deadline.due, self._look, loop)
                return
            del self._under_way[deadline]
            deadline.expire()


class Deadline:
    """One of them, of the task that enters it."""

    __slots__ = ("_cancelling", "_deadlines", "_expired", "_task", "_under_way", "due")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines, self._under_way = deadlines, deadlines._under_way
        self._expired = False
        self.due = 0.0

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is a task's")
        self._task, self._cancelling = task, task.cancelling()
        self._deadlines._enter(self)
        return self

    def lift(self) -> None:
        """Let what is under way take as long as it likes from now on."""
        self._under_way.pop(self, None)

    def renew(self) -> None:
        """Give it the whole time once more, from now on."""
        self._under_way.pop(self, None)  # to stand behind those that began meanwhile
        self._deadlines._enter(self)

    def expire(self) -> None:
        """End what is under way."""
        self._expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._under_way.pop(self, None)
        # A cancellation by somebody else, which came meanwhile, is no timeout: so has asyncio.timeout it.
        if self._expired and self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error
