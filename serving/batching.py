"""Answers requests that are there at the same time together: one round trip and one model call for all of them.

A lone request is not held back. Those that arrive while others are being answered wait for the next turn, so that the
fixed price of a turn is shared by more requests the busier it gets.
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


class Batcher(Generic[Call, Answer]):
    """Collects calls and answers them in turns.

    Parameters
    ----------
    answer : async callable
        Takes calls, returns an answer or an exception for each, in their order. An exception that it raises is the
        answer to all.
    most : int
        Largest turn, by the length of the calls. A larger call is answered at once and by itself: nobody waits for it.
    at_once : int
        Turns that may be under way. One measures best: what comes meanwhile makes the next turn larger.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Call]], Awaitable[Sequence[Answer | Exception]]],
        *,
        most: int,
        at_once: int = 1,
    ) -> None:
        self._answer, self._most, self._at_once = answer, most, at_once
        self._waiting: deque[tuple[Call, asyncio.Future[Answer]]] = deque()
        self._turns: set[asyncio.Task[None]] = set()
        self._due = False
        self._alone = 0

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._waiting and not self._turns and not self._alone

    async def __call__(self, call: Call) -> Answer:
        """Return the answer to a call."""
        if len(call) > self._most:
            return await self._answer_alone(call)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((call, future))
        if not self._due and len(self._turns) < self._at_once:
            self._due = True
            loop.call_soon(self._begin)  # after everything that has arrived by now
        return await future

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
        self._due = False
        while self._waiting and len(self._turns) < self._at_once:
            turn: list[tuple[Call, asyncio.Future[Answer]]] = []
            size = 0
            while self._waiting and (not turn or size + len(self._waiting[0][0]) <= self._most):
                call, future = self._waiting.popleft()
                if not future.done():  # its client may have gone
                    turn.append((call, future))
                    size += len(call)
            if turn:
                task = asyncio.create_task(self._take(turn))
                self._turns.add(task)
                task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._turns.discard(task)
        if self._waiting and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._begin)

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
