"""A real server on a real socket that answers as a test tells it: whole, cut, slow, or garbled."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

Act = Callable[[socket.socket, bytes], None]


def answer(content: Any, status: str = "200 OK", headers: str = "", content_type: str = "application/json") -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = (f"HTTP/1.1 {status}", f"content-type: {content_type}", f"content-length: {len(body)}", "connection: close")
    head = "\r\n".join(lines) + f"\r\n{headers}\r\n"
    return head.encode() + body


def says(content: Any, status: str = "200 OK", headers: str = "") -> Act:
    """Answer properly."""
    return lambda peer, _: peer.sendall(answer(content, status, headers))


def problem(status: int, detail: str, headers: str = "", **members: Any) -> Act:
    """Answer with problem details."""
    return says({"status": status, "title": "no", "detail": detail, **members}, f"{status} No", headers)


def cut(content: Any, after: int) -> Act:
    """Send the first bytes of an answer and hang up."""
    return lambda peer, _: peer.sendall(answer(content)[:after])


def raw(data: bytes) -> Act:
    """Send bytes that are no HTTP."""
    return lambda peer, _: peer.sendall(data)


def hang(released: threading.Event) -> Act:
    """Take the request and say nothing until the test ends."""
    return lambda *_: released.wait(30) and None


def hang_up(peer: socket.socket, _: bytes) -> None:
    """Take the request and say nothing at all."""


class Wire:
    """Listens on a free port; each connection is one request, answered by the next act (the last one for ever)."""

    def __init__(self, *acts: Act) -> None:
        self.acts = list(acts)
        self.requests: list[bytes] = []
        self.released = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(10)

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            request = b""
            while b"\r\n\r\n" not in request:
                part = peer.recv(65536)
                if not part:
                    return
                request += part
            self.requests.append(request)
            act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
            act(peer, request)
            with suppress(OSError):  # an orderly end: what was sent arrives before the connection is gone
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):
                    pass
