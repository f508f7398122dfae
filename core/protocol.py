"""uvicorn's HTTP/1.1 connections, with an end to what a client may leave unfinished.

Until an answer begins, the service's own timeout and limits hold. Before that, and after a refusal whose body was not
waited for, only the server sees what comes: here it comes within a size and a time, or the connection closes. It closes
too when an answer is not taken.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_GOODBYE_SECONDS = 1.0
_LEAST_TAKEN = 16_384  # bytes of an answer, within the time that a client has


class BoundedHttp(HttpToolsProtocol):
    """One connection.

    Attributes
    ----------
    most_head : int
        Most bytes of a request line and its headers, give or take what came in one piece.
    seconds : float
        How long a client may take to send them, or the rest of a body that nobody reads any more, or to take the next
        piece of an answer.
    """

    most_head = 65_536
    seconds = 30.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head = 0  # bytes of a head that is not complete
        self._begun = False  # whether there is one
        self._deadline: asyncio.TimerHandle | None = None
        self._untaken = 0  # bytes of an answer that waited when it was last looked at
        self._next_look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request its time."""
        super().connection_made(transport)
        self._await_client()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        self._client_is_done()
        self._answer_is_taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that it does not complete must not grow for ever."""
        self._head += len(data)
        super().data_received(data)
        if self._begun:  # most heads come whole, and need no timer
            self._await_client()
        if self._head > self.most_head and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        super().on_message_begin()
        self._begun = True

    def on_headers_complete(self) -> None:
        """Leave the rest to the service."""
        self._head, self._begun = 0, False
        self._client_is_done()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body, whose size is the service's concern."""
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a body."""
        self._head = 0
        self._client_is_done()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give their time to the rest of a body that was not waited for, and of an answer after which we close."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_taking()
        if self.cycle.more_body:
            self._await_client()

    def pause_writing(self) -> None:
        """Give the client its time to take some of what waits; most answers never wait."""
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        """Go on with the answer."""
        super().resume_writing()
        if not self.transport.is_closing():  # a connection closes when all is taken
            self._answer_is_taken()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also where the end of the last answer is never taken."""
        super().timeout_keep_alive_handler()
        self._await_taking()

    def shutdown(self) -> None:
        """Close an idle connection; over TLS a client that does not close its end too would hold up the stop."""
        super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(_GOODBYE_SECONDS, self.transport.abort)

    def _await_client(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.seconds, self.transport.close)

    def _client_is_done(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _await_taking(self) -> None:
        if self._next_look is None:
            self._untaken = self.transport.get_write_buffer_size()
            self._next_look = self.loop.call_later(self.seconds, self._look)

    def _look(self) -> None:
        self._next_look = None
        if self.transport.get_write_buffer_size() > self._untaken - _LEAST_TAKEN:
            self.transport.abort()  # to close it would be to wait until all is taken
        else:
            self._await_taking()

    def _answer_is_taken(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
