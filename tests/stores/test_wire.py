"""One connection to a real Valkey, asked piece by piece: answers in order, and an end to waiting."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import hiredis
import pytest

from core.errors import StoreUnavailable
from stores.embedded import EmbeddedServer
from stores.wire import AsyncWire
from tests.conftest import free_port
from tests.stores.online_repo import make_store

PING = b"*1\r\n$4\r\nPING\r\n"


def echo(text: str) -> bytes:
    return hiredis.pack_command(("ECHO", text))


def test_asked_before_and_after_what_is_under_way(tmp_path: Path, valkey: str) -> None:
    wire = AsyncWire(make_store(tmp_path, valkey).config)
    long = [f"{i}:{'x' * 1000}" for i in range(500)]  # many pieces, and more than a socket takes at once

    async def story() -> None:
        channel = await wire.connect()
        first = channel.ask(echo("first"), 1)  # not sent: whoever asked has gone
        many = channel.ask(b"".join(map(echo, long)), len(long))
        last = channel.ask(echo("last") + PING, 2)
        channel.flush()
        assert await wire.replies(last) == [b"last", b"PONG"]
        assert await wire.replies(many) == [text.encode() for text in long]
        assert await wire.replies(first) == [b"first"]
        assert await wire.exchange(echo("anew"), 1) == [b"anew"]

    asyncio.run(story())


def test_a_server_that_says_nothing_is_given_up_by_all_who_wait(tmp_path: Path) -> None:
    port = free_port()
    server = EmbeddedServer(tmp_path / "run", "127.0.0.1", port)
    pid = server.start().pid
    wire = AsyncWire(make_store(tmp_path, f"127.0.0.1:{port},socket_timeout=0.5").config)

    async def story() -> None:
        assert await wire.exchange(echo("a"), 1) == [b"a"]
        os.kill(pid, signal.SIGSTOP)
        try:
            waiting = [asyncio.create_task(wire.exchange(echo(text), 1)) for text in "abc"]
            for task in waiting:
                with pytest.raises(StoreUnavailable, match=r"no reply within 0\.5 s"):
                    await task
        finally:
            os.kill(pid, signal.SIGCONT)
        assert await wire.exchange(echo("b"), 1) == [b"b"]

    asyncio.run(story())
    server.stop()


def test_an_error_is_its_askers_alone(tmp_path: Path, valkey: str) -> None:
    wire = AsyncWire(make_store(tmp_path, valkey).config)

    async def story() -> None:
        channel = await wire.connect()
        wrong, right = channel.ask(hiredis.pack_command(("NO", "SUCH")), 1), channel.ask(echo("right"), 1)
        channel.flush()
        with pytest.raises(StoreUnavailable, match="unknown command"):
            await wire.replies(wrong)
        assert await wire.replies(right) == [b"right"]

    asyncio.run(story())
