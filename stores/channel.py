"""One connection to Redis for asyncio code: commands out, replies to whoever asked, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, NamedTuple, Protocol

import hiredis

Replies = list[Any]
_PIECE = 1 << 14  # so much is worth a system call of its own
_TRACK = b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*4\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$2\r\nON\r\n$5\r\nOPTIN\r\n"


class LostError(ConnectionError):
    """The connection broke while replies were due."""


class Watcher(Protocol):
    """Who is told what becomes of the keys that were read."""

    def began(self) -> None:
        """Hear that from now on changes are told."""

    def changed(self, names: list[bytes] | None) -> None:
        """Hear that keys were written or removed; None: any of them."""

    def ended(self) -> None:
        """Hear that no more will be told."""


class Asked(NamedTuple):
    """Commands that were sent, and what is to come of them."""

    payload: bytes
    owed: int  # how many replies
    replies: Replies  # as far as they are here
    future: asyncio.Future[Replies]
    due: float  # on the loop's clock


class Channel(asyncio.Protocol):
    """One connection: commands out, replies to whoever asked, in order.

    A server that owes a reply for longer than ``timeout`` seconds is given up, and whoever waits is told.
    """

    def __init__(self, timeout: float) -> None:
        self.alive = False
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._asked: deque[Asked] = deque()
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: Watcher | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport, self.alive = transport, True  # type: ignore[assignment]
        # What is written goes out now, not when the loop comes round: the server begins while we go on.
        self._transport.set_write_buffer_limits(high=0)  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that are whole, and pass on what the server says unasked."""
        self._reader.feed(data)
        gets, line = self._reader.gets, self._asked
        while (reply := gets()) is not False:  # the rest is still on its way
            if type(reply) is hiredis.PushNotification:
                self._heard(reply)
                continue
            if not line:  # given up
                return
            asked = line[0]
            asked.replies.append(reply)
            if len(asked.replies) == asked.owed:
                line.popleft()
                if not asked.future.done():  # its request may have been cancelled
                    asked.future.set_result(asked.replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._fail(LostError(str(exc or "connection closed")))

    async def watch(self, watcher: Watcher) -> str:
        """Have the server tell of changes to what is read after ``CLIENT CACHING YES``.

        Returns
        -------
        refused : str
            Why it does not; empty when it does.
        """
        for reply in await self.send(_TRACK, 2).future:
            if isinstance(reply, hiredis.ReplyError):
                return str(reply)
        self._watcher = watcher
        watcher.began()
        return ""

    def ask(self, payload: bytes, count: int) -> Asked:
        """Take commands that have ``count`` replies; they are on their way at the next :meth:`flush` at the latest."""
        now = self._loop.time()
        asked = Asked(payload, count, [], self._loop.create_future(), now + self._timeout)
        self._asked.append(asked)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._look)
        self._unsent.append(payload)
        self._unsent_bytes += len(payload)
        if self._unsent_bytes >= _PIECE:
            self.flush()
        return asked

    def send(self, payload: bytes, count: int) -> Asked:
        """Take commands that have ``count`` replies, and send them."""
        asked = self.ask(payload, count)
        self.flush()
        return asked

    def flush(self) -> None:
        """Send what was taken."""
        if self._unsent and self._transport is not None:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._unsent_bytes = 0

    def abort(self) -> None:
        """Close at once; whoever waits is told."""
        self._over()
        if self._transport is not None:
            self._transport.abort()

    def _look(self) -> None:
        self._timer = None
        if not self._asked:
            return
        left = self._asked[0].due - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
            return
        self._fail(TimeoutError(f"no reply within {self._timeout:g} s"))
        self.abort()

    def _heard(self, push: list[Any]) -> None:
        if self._watcher is not None and push[0] == b"invalidate":
            self._watcher.changed(push[1])

    def _over(self) -> None:
        self.alive = False
        if self._watcher is not None:
            self._watcher.ended()
            self._watcher = None

    def _fail(self, error: OSError) -> None:
        self._over()
        if self._timer is not None:
            self._timer.cancel()
        for asked in self._asked:
            if not asked.future.done():
                asked.future.set_exception(error)
                asked.future.exception()  # where nobody waits any more, nobody need hear of it
        self._asked.clear()
