"""What a client may leave unfinished: within a size and a time, or the connection closes."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from uvicorn import Config, Server

from core.pieces import send_in_pieces
from core.protocol import BoundedHttp
from tests.conftest import free_port
from tests.stores.test_guarded_redis import certificate

SECONDS = 0.3
PATIENCE = 20.0
LARGE = b"x" * 40_000_000  # more than what lies between a server and a client that does not read
HEAD = b"POST / HTTP/1.1\r\nhost: here\r\n"


class Hasty(BoundedHttp):
    """Waits for as long as a test would."""

    seconds = SECONDS


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body where the path says so, and answer."""
    if scope["path"] == "/read":
        while (await receive()).get("more_body"):
            pass
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * SECONDS)
    body = LARGE if scope["path"].startswith("/large") else b"ok"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    if scope["path"] == "/large-in-pieces":
        await send_in_pieces(send, {"type": "http.response.body", "body": body})
    else:
        await send({"type": "http.response.body", "body": body})


@contextmanager
def served(**more: Any) -> Iterator[int]:
    number = free_port()
    options: dict[str, Any] = {"http": Hasty, "ws": "none", "lifespan": "off", "log_config": None, **more}
    server = Server(Config(app, port=number, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield number
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served() as number:
        # A first connection makes uvicorn's loggers: not while pytest goes through all there are, as before each test.
        with socket.create_connection(("127.0.0.1", number), timeout=PATIENCE) as first:
            first.sendall(HEAD + b"connection: close\r\n\r\n")
            assert b" 200 " in said(first)
        yield number


@pytest.fixture
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as opened:
        yield opened


def said(connection: socket.socket) -> bytes:
    """Return everything until the server closes."""
    found = b""
    while chunk := connection.recv(65_536):
        found += chunk
    return found


@pytest.mark.parametrize("begun", [b"", b"POST /", HEAD, HEAD + b"x-more"])
def test_a_head_that_does_not_end_is_waited_for_no_longer(connection: socket.socket, begun: bytes) -> None:
    connection.sendall(begun)
    start = time.monotonic()
    assert said(connection) == b""
    assert time.monotonic() - start >= SECONDS / 2


def test_dripping_bytes_buy_no_time(connection: socket.socket) -> None:
    start = time.monotonic()
    with pytest.raises(OSError, match=r"(?i)reset|pipe"):  # it has closed
        while time.monotonic() - start < PATIENCE:
            connection.sendall(b"POST / HTTP/1.1\r\n" if time.monotonic() - start < 0.01 else b"x: y\r\n")
            time.sleep(0.02)
    assert time.monotonic() - start < PATIENCE


@pytest.mark.parametrize("piece", [b"x-long: " + b"y" * 1000 + b"\r\n", b"z" * 1000])
def test_a_head_that_grows_for_ever_is_refused(connection: socket.socket, piece: bytes) -> None:
    sent = HEAD
    try:
        connection.sendall(HEAD)
        while len(sent) < 10 * BoundedHttp.most_head:
            connection.sendall(piece)
            sent += piece
    except OSError:
        pass  # closed under our hands: what it said before may be lost, so it is the length that counts
    assert len(sent) < 10 * BoundedHttp.most_head or b" 431 " in said(connection)


def test_a_large_body_is_no_large_head(connection: socket.socket) -> None:
    body = b"x" * 10 * BoundedHttp.most_head
    connection.sendall(b"POST /read HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_an_answer_may_take_longer_than_a_client(connection: socket.socket) -> None:
    for _ in range(2):
        connection.sendall(b"GET /slow HTTP/1.1\r\nhost: here\r\n\r\n")
        found = b""
        while not found.endswith(b"ok"):
            found += connection.recv(1000)
        assert found.startswith(b"HTTP/1.1 200")


def test_the_rest_of_a_body_that_nobody_reads_is_waited_for_no_longer(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"content-length: 1000000\r\n\r\nab")
    assert said(connection).startswith(b"HTTP/1.1 200")


def test_many_requests_on_one_connection_add_up_to_nothing(connection: socket.socket) -> None:
    request = b"GET / HTTP/1.1\r\nhost: here\r\nx-long: " + b"y" * 30_000 + b"\r\n\r\n"
    for _ in range(10):
        connection.sendall(request)
        found = b""
        while not found.endswith(b"ok"):
            found += connection.recv(1000)
        assert found.startswith(b"HTTP/1.1 200")


def take(connection: socket.socket, pause: float) -> int:
    """Return how many bytes of an answer come, with a pause after each megabyte."""
    taken = lately = 0
    while chunk := connection.recv(65_536):
        taken, lately = taken + len(chunk), lately + len(chunk)
        if lately >= 1_000_000:
            lately = 0
            time.sleep(pause)
    return taken


@pytest.mark.parametrize("path", [b"/large", b"/large-in-pieces"])
def test_an_answer_is_there_for_as_long_as_it_is_taken(connection: socket.socket, path: bytes) -> None:
    connection.sendall(b"GET " + path + b" HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
    start = time.monotonic()
    assert take(connection, pause=0.05) > len(LARGE)
    assert time.monotonic() - start > 4 * SECONDS


@pytest.mark.parametrize("path", [b"/large", b"/large-in-pieces"])
@pytest.mark.parametrize("header", [b"", b"connection: close\r\n"])
def test_an_answer_that_nobody_takes_is_given_up(connection: socket.socket, path: bytes, header: bytes) -> None:
    connection.sendall(b"GET " + path + b" HTTP/1.1\r\nhost: here\r\n" + header + b"\r\n")
    time.sleep(4 * SECONDS)
    assert take(connection, pause=0) < len(LARGE)


def test_over_tls_too_it_is_the_pace_that_counts(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(cafile=cert)
    taken = {}
    with served(ssl_certfile=cert, ssl_keyfile=key) as port:
        for wait in (0.0, 4 * SECONDS):
            plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
                connection.sendall(b"GET /large-in-pieces HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
                time.sleep(wait)
                taken[wait] = take(connection, pause=0.0 if wait else 0.05)
    assert taken[0.0] > len(LARGE) > taken[4 * SECONDS]
