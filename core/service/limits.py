"""Rate limits by key and by address, exact over all workers and services, and cheap enough for every prediction.

The count is kept in Redis by the ``limits`` library (a sliding window). A worker does not ask for every request: it
takes a small share of a window in advance and hands that out from memory for at most a second. Where requests keep
coming it asks for the next share before the last is at an end, so that only a first request waits for the answer. What
it took and did not hand out is lost to the others, so a limit may bite a little early, never late.

While Redis is away each worker counts by itself, with its part of the limit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool, SSLConnection
from redis.exceptions import RedisError

from core.addresses import counted_as
from core.errors import ConfigError, TooManyRequests
from core.redis import parse_address

if TYPE_CHECKING:
    from core.auth import Principal
    from core.service.metrics import RequestMetrics
    from core.settings import Settings

log = logging.getLogger("punctual.limits")

_SHARE = 500  # a lease is at most this part of a limit: a worker holds two at most, which may be lost to the others
_LEASE_SECONDS = 1.0
_AHEAD_SECONDS = 0.25  # before its end, or with a quarter of it left, a lease that is in use is followed by the next
_AHEAD_SHARE = 4
_REFUSAL_SECONDS = 0.2  # for so long a refusal is repeated without asking again
_AWAY_SECONDS = 1.0
_MOST_LEASES = 50_000
_COUNTED_BY = ("key", "address", "login")


def read_limit(name: str, text: str) -> RateLimitItem:
    """Read ``100/minute``.

    Raises
    ------
    ConfigError
        Naming the setting and what is allowed.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(
            f"PUNCTUAL_{name.upper()}={text!r} is no rate limit.", hint="Write a number and a unit, as in 100/minute."
        ) from error


def read_limits(settings: Settings) -> dict[str, RateLimitItem]:
    """Read the limits of the settings, by whom they count.

    Raises
    ------
    ConfigError
        When one cannot be read.
    """
    return {by: read_limit(f"rate_limit_{by}", getattr(settings, f"rate_limit_{by}")) for by in _COUNTED_BY}


@dataclass(slots=True)
class _Lease:
    """Requests that may pass without asking, until when; or a refusal, until when."""

    left: int
    until: float
    retry_after: int = 0
    few: int = 0  # with so many left the next is asked for; 0: it is not worth it
    following: asyncio.Task[None] | None = None  # gets the next
    next: _Lease | None = None


class Limiter:
    """Admits requests of one service's worker.

    Parameters
    ----------
    settings : Settings
        Limits, Redis address, number of workers.
    metrics : RequestMetrics
        Counts refusals.
    """

    def __init__(self, settings: Settings, metrics: RequestMetrics) -> None:
        self._key, self._address, self._login = map(read_limits(settings).__getitem__, _COUNTED_BY)
        self._own = {settings.rate_limit_key: self._key}
        self._metrics = metrics
        self._workers = settings.workers
        self._leases: OrderedDict[tuple[str, str], _Lease] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Lock] = {}
        self._following: set[asyncio.Task[None]] = set()
        self._pool = _pool(settings.redis)
        storage = RedisStorage(
            "async+redis://", implementation="redispy", key_prefix="punctual:limit", connection_pool=self._pool
        )
        self._shared = SlidingWindowCounterRateLimiter(storage)
        self._alone = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._away_until = 0.0

    async def close(self) -> None:
        """Close the connections."""
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        await self._pool.disconnect()

    async def admit_address(self, address: str) -> None:
        """Count a request of an address.

        Raises
        ------
        TooManyRequests
            With ``retry_after`` in seconds.
        """
        await self._admit("address", counted_as(address), self._address)

    async def admit_login(self, address: str) -> None:
        """Count an attempt to log in.

        Raises
        ------
        TooManyRequests
            With ``retry_after`` in seconds.
        """
        await self._admit("login", counted_as(address), self._login)

    async def admit_key(self, caller: Principal) -> None:
        """Count a request of a key (its own limit counts, if it has one) or of a session.

        Raises
        ------
        TooManyRequests
            With ``retry_after`` in seconds.
        """
        item = self._key
        if caller.rate_limit is not None:
            item = self._own.get(caller.rate_limit) or self._own.setdefault(
                caller.rate_limit, read_limit("rate_limit_key", caller.rate_limit)
            )
        await self._admit("key", caller.id, item)

    async def _admit(self, by: str, who: str, item: RateLimitItem) -> None:
        key = (by, who)
        now = time.monotonic()
        lease = self._current(key, now)
        if lease is not None and lease.left > 0:
            lease.left -= 1
            if lease.few and not lease.following and (lease.left <= lease.few or now >= lease.until - _AHEAD_SECONDS):
                lease.following = asyncio.create_task(self._follow(key, item, lease))
                self._following.add(lease.following)
                lease.following.add_done_callback(self._following.discard)
            return
        # One asks, the others wait for what it gets.
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                last = self._leases.get(key)
                if last is not None and last.following:
                    await asyncio.wait((last.following,))
                lease = self._current(key, time.monotonic())
                if lease is None or (lease.left <= 0 and not lease.retry_after):
                    lease = self._keep(key, await self._ask(key, item))
                if lease.left > 0:
                    lease.left -= 1
                    return
        finally:
            if not lock.locked():
                self._asking.pop(key, None)
        self._metrics.limited(by)
        raise TooManyRequests(
            f"More than {item.amount} requests per {_window(item)} from one {'key' if by == 'key' else 'address'}.",
            hint=f"Try again in {lease.retry_after} s.",
            retry_after=lease.retry_after,
        )

    def _current(self, key: tuple[str, str], now: float) -> _Lease | None:
        """Return the lease, or refusal, that counts by now."""
        lease = self._leases.get(key)
        if lease is not None and lease.next is not None and (lease.left <= 0 or now >= lease.until):
            lease = self._keep(key, lease.next)
        return lease if lease is not None and now < lease.until else None

    async def _follow(self, key: tuple[str, str], item: RateLimitItem, lease: _Lease) -> None:
        """Get the lease that comes after one."""
        lease.next = await self._ask(key, item)

    async def _ask(self, key: tuple[str, str], item: RateLimitItem) -> _Lease:
        most = max(1, item.amount // _SHARE)
        now = time.monotonic()
        if now >= self._away_until:
            try:
                lease = await self._take(self._shared, key, item, most)
            except (RedisError, OSError) as error:
                if not self._away_until:
                    log.warning("each worker counts rate limits alone: Redis is away", extra={"error": str(error)})
                self._away_until = now + _AWAY_SECONDS
            else:
                if self._away_until:
                    log.warning("rate limits are counted over all workers again")
                    self._away_until = 0.0
                return lease
        part = type(item)(max(1, item.amount // self._workers), item.multiples)
        return await self._take(self._alone, key, part, 1)

    async def _take(
        self, limiter: SlidingWindowCounterRateLimiter, key: tuple[str, str], item: RateLimitItem, most: int
    ) -> _Lease:
        for cost in dict.fromkeys((most, 1)):
            if await limiter.hit(item, *key, cost=cost):
                return _Lease(cost, time.monotonic() + _LEASE_SECONDS, few=cost // _AHEAD_SHARE)
        stats = await limiter.get_window_stats(item, *key)
        # Only the wall clock is comparable to the library's reset time; its own window is what we must not outlast.
        wait = max(1, min(item.get_expiry(), ceil(stats.reset_time - _wall())))
        return _Lease(0, time.monotonic() + _REFUSAL_SECONDS, wait)

    def _keep(self, key: tuple[str, str], lease: _Lease) -> _Lease:
        self._leases[key] = lease
        self._leases.move_to_end(key)
        if len(self._leases) > _MOST_LEASES:
            self._leases.popitem(last=False)
        return lease


def _window(item: RateLimitItem) -> str:
    name = str(item.GRANULARITY.name)
    return name if item.multiples == 1 else f"{item.multiples} {name}s"


def _wall() -> float:
    from core.clock import epoch_seconds

    return epoch_seconds()


def _pool(connection_string: str) -> ConnectionPool:
    address = parse_address(connection_string)
    # A limit must not cost more than the request: a Redis that does not answer at once is away.
    options: dict[str, Any] = {**address.options, "socket_timeout": 0.5, "socket_connect_timeout": 0.5}
    if options.pop("ssl", False):
        options["connection_class"] = SSLConnection
    return ConnectionPool(host=address.host, port=address.port, **options)
