"""Rate limits hold over workers, cost little, and go on when Redis is away."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from core.errors import ConfigError, TooManyRequests
from core.service.limits import Limiter, read_limit
from core.service.metrics import RequestMetrics
from core.settings import Settings
from stores.embedded import EmbeddedServer
from tests.conftest import free_port


@dataclass(frozen=True)
class Caller:
    """What a limiter looks at of a principal."""

    id: str = "k1"
    rate_limit: str | None = None


def limiter(redis: str, **settings: object) -> Limiter:
    return Limiter(Settings(redis=redis, **settings), RequestMetrics("test"))  # type: ignore[arg-type]


async def admitted(tries: int, *limiters: Limiter, caller: Caller | None = None) -> int:
    """Send requests to workers in turn, a few at once; return how many passed."""
    who = caller or Caller()

    async def one(i: int) -> bool:
        try:
            await limiters[i % len(limiters)].admit_key(who)  # type: ignore[arg-type]
        except TooManyRequests:
            return False
        return True

    passed = 0
    for start in range(0, tries, 16):
        passed += sum(await asyncio.gather(*(one(i) for i in range(start, min(tries, start + 16)))))
    for each in limiters:
        await each.close()
    return passed


@pytest.mark.parametrize("workers", [1, 3])
def test_a_small_limit_is_exact_over_all_workers(valkey: str, workers: int):
    several = [limiter(valkey, rate_limit_key="20/day", workers=workers) for _ in range(workers)]
    assert asyncio.run(admitted(64, *several)) == 20


def test_a_large_limit_is_never_passed_and_little_of_it_is_lost(valkey: str):
    several = [limiter(valkey, rate_limit_key="3000/hour") for _ in range(3)]
    passed = asyncio.run(admitted(4000, *several))
    assert 3000 - 3 * 3000 // 500 <= passed <= 3000


def test_keys_and_addresses_are_counted_apart(valkey: str):
    async def run() -> None:
        one = limiter(valkey, rate_limit_key="2/day", rate_limit_address="3/day", rate_limit_login="1/minute")
        for key in ("a", "b"):
            await one.admit_key(Caller(key))  # type: ignore[arg-type]
            await one.admit_key(Caller(key))  # type: ignore[arg-type]
        for _ in range(3):
            await one.admit_address("10.0.0.1")
        await one.admit_address("10.0.0.2")
        await one.admit_login("10.0.0.1")
        with pytest.raises(TooManyRequests, match="2 requests per day from one key"):
            await one.admit_key(Caller("a"))  # type: ignore[arg-type]
        with pytest.raises(TooManyRequests, match="address"):
            await one.admit_address("10.0.0.1")
        with pytest.raises(TooManyRequests) as refused:
            for _ in range(2):  # a minute may end in between, which lets one more in
                await one.admit_login("10.0.0.1")
        assert 1 <= refused.value.context["retry_after"] <= 60
        await one.close()

    asyncio.run(run())


def test_an_ipv6_network_is_counted_as_one(valkey: str):
    async def run() -> None:
        one = limiter(valkey, rate_limit_address="3/day")
        for address in ("2001:db8::1", "2001:db8::2", "2001:0db8:0:0:ffff::3"):
            await one.admit_address(address)
        with pytest.raises(TooManyRequests):
            await one.admit_address("2001:db8::4")
        await one.admit_address("2001:db8:0:1::1")
        await one.close()

    asyncio.run(run())


def test_a_key_s_own_limit_counts(valkey: str):
    own = Caller(rate_limit="3/day")
    assert asyncio.run(admitted(10, limiter(valkey, rate_limit_key="100/day"), caller=own)) == 3


def test_the_window_slides_on(valkey: str):
    async def run() -> None:
        one = limiter(valkey, rate_limit_key="2/second")
        assert await admitted(8, one) == 2
        one = limiter(valkey, rate_limit_key="2/second")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                await one.admit_key(Caller())  # type: ignore[arg-type]
                break
            except TooManyRequests:
                await asyncio.sleep(0.05)
        else:
            raise AssertionError("refused for ever")
        await one.close()

    asyncio.run(run())


def test_most_requests_do_not_ask_redis(valkey: str):
    host, port = valkey.split(":")
    with redis.Redis(host=host, port=int(port)) as client:
        before = client.info("stats")["total_commands_processed"]
        assert asyncio.run(admitted(5000, limiter(valkey, rate_limit_key="1000000/minute"))) == 5000
        assert client.info("stats")["total_commands_processed"] - before < 100


@contextmanager
def server(folder: Path, port: int) -> Iterator[None]:
    one = EmbeddedServer(folder, "127.0.0.1", port)
    one.start()
    try:
        yield
    finally:
        one.stop()


def test_who_keeps_asking_never_waits_for_redis(tmp_path: Path):
    port = free_port()
    one, who = EmbeddedServer(tmp_path, "127.0.0.1", port), Caller()
    pid = one.start().pid

    async def run() -> None:
        worker = limiter(f"127.0.0.1:{port}", rate_limit_key="10000/minute")  # leases of 20
        with redis.Redis(port=port) as client:

            def asked() -> int:
                return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])

            await worker.admit_key(who)  # type: ignore[arg-type]
            once = asked()
            for _ in range(15):
                await worker.admit_key(who)  # type: ignore[arg-type]
            for _ in range(100):  # the next lease is on its way
                await asyncio.sleep(0.01)
                if asked() > once:
                    break
            else:
                raise AssertionError("the next lease was not asked for")
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(20):  # four of the first lease, the others of the next
                await asyncio.wait_for(worker.admit_key(who), 0.1)  # type: ignore[arg-type]
        finally:
            os.kill(pid, signal.SIGCONT)
        await worker.close()

    try:
        asyncio.run(run())
    finally:
        one.stop()


def test_without_redis_each_worker_counts_its_part_and_with_it_all_is_as_before(tmp_path: Path):
    port = free_port()
    address = f"127.0.0.1:{port}"

    async def run() -> None:
        one = limiter(address, rate_limit_key="20/day", workers=2)
        assert await admitted(64, one) == 10
        with server(tmp_path, port):
            one = limiter(address, rate_limit_key="20/day", workers=2)
            assert await admitted(64, one) == 20

    asyncio.run(run())


def test_it_notices_that_redis_is_back(tmp_path: Path):
    port = free_port()

    async def run() -> None:
        one = limiter(f"127.0.0.1:{port}", rate_limit_key="64/day", workers=64)
        await one.admit_key(Caller())  # type: ignore[arg-type]
        with pytest.raises(TooManyRequests):
            await one.admit_key(Caller())  # type: ignore[arg-type]
        with server(tmp_path, port):
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                try:
                    for _ in range(40):
                        await one.admit_key(Caller())  # type: ignore[arg-type]
                    break
                except TooManyRequests:
                    await asyncio.sleep(0.1)
            else:
                raise AssertionError("never came back")
        await one.close()

    asyncio.run(run())


@pytest.mark.parametrize("text", ["", "many", "5", "5/fortnight"])
def test_a_limit_that_cannot_be_read_names_its_setting(text: str):
    with pytest.raises(ConfigError, match="PUNCTUAL_RATE_LIMIT_KEY"):
        read_limit("rate_limit_key", text)
