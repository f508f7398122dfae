"""The shortest way to Redis for reads: one connection, many commands written at once, replies parsed in C.

redis-py spends about ten microseconds of Python on every reply of a pipeline; a lookup of 100 rows over six views has
600. Here a pipeline is one buffer out and a list of replies back, and concurrent requests share one connection:
Redis answers in order, so whoever wrote first is answered first.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

import hiredis
from redis.exceptions import RedisError

from stores.channel import Asked, Channel, LostError, Replies, Watcher
from stores.endpoint import Endpoint

if TYPE_CHECKING:
    from feast import RepoConfig

log = logging.getLogger("punctual.store")

_CHUNK = 1 << 16
_NEAR_SECONDS = 0.001
_TROUBLE = (OSError, hiredis.HiredisError, RedisError)


def _checked(replies: Replies) -> Replies:
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise reply
    if replies and isinstance(replies[-1], list):  # of a transaction: one reply a command
        for reply in replies[-1]:
            if isinstance(reply, hiredis.ReplyError):
                raise reply
    return replies


class AsyncWire:
    """A connection for asyncio code; opened on first use and again after it broke.

    While the server works on the first commands of a read, the next can be made; while it works on the last, the first
    replies can be read.
    """

    def __init__(self, config: RepoConfig) -> None:
        self._endpoint = Endpoint(config)
        self._channel: Channel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()
        self._watcher: Watcher | None = None
        self._usual_seconds = 0.0  # that an answer takes

    def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher`` of changes to what is read after ``CLIENT CACHING YES``, once the connection is opened.

        A server that cannot do that, or does not allow it, leaves the watcher without word.
        """
        self._watcher = watcher

    async def connect(self) -> Channel:
        """Return the connection, opened if it was not; before anything else is awaited, it can be asked.

        Raises
        ------
        StoreUnavailable
            When Redis cannot be reached.
        """
        try:
            return await self._connected()
        except _TROUBLE as error:
            raise self._endpoint.away(error) from error

    async def ping(self) -> None:
        """Make sure that there is a connection, and a server at its other end.

        Raises
        ------
        StoreUnavailable
            When it does not answer.
        """
        await self.exchange(b"*1\r\n$4\r\nPING\r\n", 1)

    async def exchange(self, payload: bytes, count: int) -> Replies:
        """Send packed commands that only read, and return their ``count`` replies.

        Raises
        ------
        StoreUnavailable
            As :meth:`connect` and :meth:`replies` do.
        """
        channel = await self.connect()
        return await self.replies(channel.send(payload, count))

    async def replies(self, asked: Asked) -> Replies:
        """Return the replies to what the connection was asked for.

        Raises
        ------
        StoreUnavailable
            When Redis breaks off, is silent for ``socket_timeout`` seconds, or answers with an error.
        """
        try:
            try:
                return _checked(await self._awaited(asked.future))
            except LostError:  # a restarted server dropped the connection; reads can be asked again
                channel = await self._connected()
                return _checked(await channel.send(asked.payload, asked.owed).future)
        except _TROUBLE as error:
            raise self._endpoint.away(error) from error

    async def _awaited(self, future: asyncio.Future[Replies]) -> Replies:
        """Wait; while a store that is near answers, without falling asleep: waking takes longer than the answer does.

        What else there is to do is done meanwhile. On a machine of its own a core that sleeps is woken in microseconds;
        on a shared one it may have been given away, and comes back with cold caches.
        """
        if future.done():
            return future.result()
        start = time.perf_counter()
        if self._usual_seconds < _NEAR_SECONDS:
            while not future.done() and time.perf_counter() - start < _NEAR_SECONDS:
                await asyncio.sleep(0)
        replies = await future
        self._usual_seconds += (time.perf_counter() - start - self._usual_seconds) / 8
        return replies

    async def _connected(self) -> Channel:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # a new event loop: what the old one opened is of no use here
            self._loop, self._channel, self._opening = loop, None, asyncio.Lock()
        channel = self._channel
        return channel if channel is not None and channel.alive else await self._open(loop)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> Channel:
        async with self._opening:
            if self._channel is not None and self._channel.alive:  # opened while we waited
                return self._channel
            endpoint = self._endpoint
            try:
                async with asyncio.timeout(endpoint.connect_timeout):
                    host, port = await asyncio.to_thread(endpoint.locate)
                    _, channel = await loop.create_connection(
                        lambda: Channel(endpoint.timeout), host, port, ssl=endpoint.ssl
                    )
            except TimeoutError as error:
                raise TimeoutError(f"no connection within {endpoint.connect_timeout:g} s") from error
            try:
                if endpoint.hello:
                    _checked(await channel.send(endpoint.hello, endpoint.hello_replies).future)
                if self._watcher is not None and (refused := await channel.watch(self._watcher)):
                    log.info("no rows are kept: %s does not tell of changes: %s", f"{host}:{port}", refused)
            except BaseException:
                channel.abort()  # nobody else knows of it
                raise
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
            except _TROUBLE as error:
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
                raise LostError("connection closed")
            self._reader.feed(data)
        return _checked(replies)

    def close(self) -> None:
        """Close the connection; the next exchange opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
