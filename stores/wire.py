"""The shortest way to Redis for reads: one connection, many commands written at once, replies parsed in C.

redis-py spends about ten microseconds of Python on every reply of a pipeline; a lookup of 100 rows over six views has
600. Here a pipeline is one buffer out and a list of replies back, and concurrent requests share one connection:
Redis answers in order, so whoever wrote first is answered first.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import hiredis
from redis.exceptions import RedisError

from stores.endpoint import Endpoint

if TYPE_CHECKING:
    from feast import RepoConfig

Replies = list[Any]
_CHUNK = 1 << 16


class _LostError(ConnectionError):
    """The connection broke while replies were due."""


def _checked(replies: Replies) -> Replies:
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise reply
    if replies and isinstance(replies[-1], list):  # of a transaction: one reply a command
        for reply in replies[-1]:
            if isinstance(reply, hiredis.ReplyError):
                raise reply
    return replies


class _Channel(asyncio.Protocol):
    """One connection: commands out, replies to whoever asked, in order."""

    def __init__(self) -> None:
        self.alive = False
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._due: deque[tuple[asyncio.Future[Replies], int, Replies]] = deque()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.alive = transport, True  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        gets = self._reader.gets
        while self._due:
            future, count, replies = self._due[0]
            while len(replies) < count:
                reply = gets()
                if reply is False:  # the rest is still on its way
                    return
                replies.append(reply)
            self._due.popleft()
            if not future.done():  # its request may have been cancelled
                future.set_result(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        for future, _, _ in self._due:
            if not future.done():
                future.set_exception(_LostError(str(exc or "connection closed")))
        self._due.clear()

    def send(self, payload: bytes, count: int) -> asyncio.Future[Replies]:
        """Write commands that have ``count`` replies."""
        future: asyncio.Future[Replies] = self._loop.create_future()
        self._due.append((future, count, []))
        if self._transport is not None:  # always: the loop sets it before anyone gets hold of the channel
            self._transport.write(payload)
        return future

    def abort(self) -> None:
        """Close at once; whoever waits is told."""
        self.alive = False
        if self._transport is not None:
            self._transport.abort()


class AsyncWire:
    """A connection for asyncio code; opened on first use and again after it broke."""

    def __init__(self, config: RepoConfig) -> None:
        self._endpoint = Endpoint(config)
        self._channel: _Channel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()

    async def exchange(self, payload: bytes, count: int) -> Replies:
        """Send packed commands that only read, and return their ``count`` replies.

        Raises
        ------
        StoreUnavailable
            When Redis cannot be reached, is silent for ``socket_timeout`` seconds, or answers with an error.
        """
        try:
            try:
                return await self._once(payload, count)
            except _LostError:  # a restarted server dropped the connection; reads can be asked again
                return await self._once(payload, count)
        except (OSError, hiredis.HiredisError, RedisError) as error:
            raise self._endpoint.away(error) from error

    async def _once(self, payload: bytes, count: int) -> Replies:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # a new event loop: what the old one opened is of no use here
            self._loop, self._channel, self._opening = loop, None, asyncio.Lock()
        channel = self._channel
        if channel is None or not channel.alive:
            channel = await self._open(loop)
        return await self._replies(channel, payload, count)

    async def _replies(self, channel: _Channel, payload: bytes, count: int) -> Replies:
        try:
            async with asyncio.timeout(self._endpoint.timeout):
                return _checked(await channel.send(payload, count))
        except TimeoutError as error:
            channel.abort()
            raise TimeoutError(f"no reply within {self._endpoint.timeout:g} s") from error

    async def _open(self, loop: asyncio.AbstractEventLoop) -> _Channel:
        async with self._opening:
            if self._channel is not None and self._channel.alive:  # opened while we waited
                return self._channel
            endpoint = self._endpoint
            try:
                async with asyncio.timeout(endpoint.connect_timeout):
                    host, port = await asyncio.to_thread(endpoint.locate)
                    _, channel = await loop.create_connection(_Channel, host, port, ssl=endpoint.ssl)
            except TimeoutError as error:
                raise TimeoutError(f"no connection within {endpoint.connect_timeout:g} s") from error
            if endpoint.hello:
                await self._replies(channel, endpoint.hello, endpoint.hello_replies)
            self._channel = channel
            return channel

    def close(self) -> None:
        """Close the connection; the next exchange opens it again."""
        if self._channel is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._channel.abort()
            self._channel = None


class Wire:
    """The same for blocking code; safe to share between threads, which then take turns."""

    def __init__(self, config: RepoConfig) -> None:
        self._endpoint = Endpoint(config)
        self._socket: socket.socket | None = None
        self._reader = hiredis.Reader()
        self._lock = threading.Lock()

    def exchange(self, payload: bytes, count: int, *, again: bool = True) -> Replies:
        """Send packed commands and return their ``count`` replies; see :class:`AsyncWire`.

        Parameters
        ----------
        again : bool
            Ask once more when the connection breaks: for commands that only read.
        """
        with self._lock:
            try:
                try:
                    return self._once(payload, count)
                except ConnectionError:
                    if not again:
                        raise
                    return self._once(payload, count)
            except (OSError, hiredis.HiredisError, RedisError) as error:
                raise self._endpoint.away(error) from error

    def _once(self, payload: bytes, count: int) -> Replies:
        try:
            connection = self._socket or self._open()
            return self._replies(connection, payload, count)
        except BaseException:
            self.close()  # half-read replies must never meet the next request
            raise

    def _open(self) -> socket.socket:
        endpoint = self._endpoint
        host, port = endpoint.locate()
        connection = socket.create_connection((host, port), endpoint.connect_timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(endpoint.timeout)
        if endpoint.ssl is not None:
            connection = endpoint.ssl.wrap_socket(connection, server_hostname=host)
        self._socket, self._reader = connection, hiredis.Reader()
        if endpoint.hello:
            self._replies(connection, endpoint.hello, endpoint.hello_replies)
        return connection

    def _replies(self, connection: socket.socket, payload: bytes, count: int) -> Replies:
        connection.sendall(payload)
        replies: Replies = []
        while len(replies) < count:
            reply = self._reader.gets()
            if reply is not False:
                replies.append(reply)
                continue
            data = connection.recv(_CHUNK)
            if not data:
                raise _LostError("connection closed")
            self._reader.feed(data)
        return _checked(replies)

    def close(self) -> None:
        """Close the connection; the next exchange opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
