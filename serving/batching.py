"""Answers requests that are there at the same time together: one round trip and one model call for all of them.

A lone request is not held back. Those that arrive while others are being answered wait for the next turn, so that the
fixed price of a turn is shared by more requests the busier it gets; when it is busy, a turn waits a millisecond at most
for as many as the last one had.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What counts towards the size of a turn."""

    def __len__(self) -> int:
        """Return how much of a turn it takes."""
        ...


Call = TypeVar("Call", bound=Sized)
Answer = TypeVar("Answer")
_BUSY = 2  # calls in a turn, from which on the next turn waits for as many
_LINGER_SECONDS = 0.001


class Batcher(Generic[Call, Answer]):
    """Collects calls and answers them in turns.

    Parameters
    ----------
    answer : async callable
        Takes calls, returns an answer or an exception for each, in their order. An exception that it raises is the
        answer to all.
    most : int
        Largest turn, by the length of the calls. A larger call is answered at once and by itself: nobody waits for it.
    """

    def __init__(
        self, answer: Callable[[Sequence[Call]], Awaitable[Sequence[Answer | Exception]]], *, most: int
    ) -> None:
        self._answer, self._most = answer, most
        self._waiting: deque[tuple[Call, asyncio.Future[Answer]]] = deque()
        self._turn: asyncio.Task[None] | None = None
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._last = 1  # calls of the last turn
        self._alone = 0

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._waiting and self._turn is None and not self._alone

    async def __call__(self, call: Call) -> Answer:
        """Return the answer to a call."""
        if len(call) > self._most:
            return await self._answer_alone(call)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((call, future))
        self._arrange(loop)
        return await future

    def _arrange(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that a turn begins, unless one is under way."""
        if self._turn is not None or self._soon is not None or not self._waiting:
            return
        if self._last < _BUSY or len(self._waiting) >= self._last:
            self._soon = loop.call_soon(self._begin)  # after everything that has arrived by now
        elif self._later is None:
            # Those who were just answered are about to ask again: one turn for all of them is cheaper than two.
            self._later = loop.call_later(_LINGER_SECONDS, self._begin)

    async def _answer_alone(self, call: Call) -> Answer:
        self._alone += 1
        try:
            (answer,) = await self._answer([call])
        finally:
            self._alone -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _begin(self) -> None:
        for handle in (self._soon, self._later):
            if handle is not None:
                handle.cancel()
        self._soon = self._later = None
        turn: list[tuple[Call, asyncio.Future[Answer]]] = []
        size = 0
        while self._waiting and (not turn or size + len(self._waiting[0][0]) <= self._most):
            call, future = self._waiting.popleft()
            if not future.done():  # its client may have gone
                turn.append((call, future))
                size += len(call)
        if turn:
            self._last = len(turn)
            self._turn = asyncio.create_task(self._take(turn))
            self._turn.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._turn = None
        self._arrange(asyncio.get_running_loop())

    async def _take(self, turn: list[tuple[Call, asyncio.Future[Answer]]]) -> None:
        answers: Sequence[Answer | Exception]
        try:
            answers = await self._answer([call for call, _ in turn])
        except asyncio.CancelledError:
            for _, future in turn:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            answers = [error] * len(turn)
        for (_, future), answer in zip(turn, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
