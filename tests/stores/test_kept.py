"""Rows that are kept until the store says that they changed: never older than the last reply, whatever is written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from feast import FeatureStore
from feast.value_type import ValueType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidRequest, StoreUnavailable
from stores.codec import encode_timestamp, field_name, timestamp_field, to_microseconds, varint
from stores.embedded import EmbeddedServer
from stores.kept import Kept
from stores.keys import KeyEncoder
from stores.reader import OnlineReader
from stores.rows import OnlineRows, Status
from stores.wire import AsyncWire
from stores.writer import materialize
from tests.conftest import free_port
from tests.stores.online_repo import at, make_store, write_file

NOW = at(10_000)
ITEMS = range(6)
BIG, MOMENT = field_name("stock", "big"), timestamp_field("stock")
ENCODER = KeyEncoder("shop", [("item", ValueType.INT64), ("shop", ValueType.STRING)])


def name_of(item: int) -> bytes:
    return ENCODER.encode([[item], ["a"]])[0]


def _keys(items: Sequence[Any]) -> dict[str, list[Any]]:
    return {"shop": ["a"] * len(items), "item": list(items)}


class Shop:
    """One view on a Valkey, its rows written past us, and read with and without what is kept."""

    def __init__(self, store: FeatureStore, address: str, *, keep: int = 100, features: tuple[str, ...] = ("big",)):
        self.client = redis.Redis(host=address.split(":")[0], port=int(address.split(":")[1].split(",")[0]))
        self.wire = AsyncWire(store.config)
        names = [f"stock:{name}" for name in features]
        self.reader = OnlineReader(store, names, wire=self.wire, keep=keep)
        self.plain = OnlineReader(store, names, wire=self.wire)

    def put(self, item: int, value: int, second: float = 10) -> None:
        stamp = encode_timestamp(to_microseconds(at(second)))
        self.client.hset(name_of(item), mapping={BIG: b"\x20" + varint(value), MOMENT: stamp})

    async def read(self, *items: Any) -> OnlineRows:
        """Read what is kept, as whoever has just had a reply over the connection."""
        await self.wire.ping()
        return await self.reader.read(_keys(items), len(items), NOW, kept=True)

    async def stored(self, *items: Any) -> OnlineRows:
        return await self.plain.read(_keys(items), len(items), NOW)

    def asked(self) -> int:
        """How many rows the server has been asked for."""
        return int(self.client.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"])


@pytest.fixture
def shop(tmp_path: Path, valkey: str) -> Iterator[Shop]:
    shop = Shop(make_store(tmp_path, valkey, features=("big",)), valkey)
    yield shop
    shop.client.close()


def test_a_row_is_asked_for_once_until_it_changes(shop: Shop) -> None:
    shop.put(1, 10)

    async def story() -> None:
        before = shop.asked()
        for _ in range(3):
            assert (await shop.read(1, 2, 1)).columns["big"] == [10, None, 10]
        assert shop.asked() - before == 2  # also that there is no row is known
        shop.put(1, 11)
        assert (await shop.read(1, 2, 1)).columns["big"] == [11, None, 11]
        shop.put(2, 20, second=20_000)
        rows = await shop.read(2, 1)
        assert rows.columns["big"] == [None, 11]
        assert rows.views["stock"].status == [Status.FUTURE, Status.PRESENT]
        shop.client.delete(name_of(1))
        assert (await shop.read(1)).columns["big"] == [None]
        shop.put(1, 12)
        assert (await shop.read(1)).columns["big"] == [12]
        shop.client.flushdb()
        assert (await shop.read(1, 2)).columns["big"] == [None, None]

    asyncio.run(story())


_steps = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(ITEMS), st.integers(-(2**40), 2**40)),
    st.tuples(st.just("delete"), st.sampled_from(ITEMS), st.just(0)),
    st.tuples(st.just("read"), st.lists(st.one_of(st.none(), st.sampled_from(ITEMS)), max_size=8), st.just(0)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_steps, max_size=30), keep=st.sampled_from([1, 3, 100]))
def test_whatever_is_written_a_read_gives_what_is_stored(
    tmp_path_factory: pytest.TempPathFactory, shared: FeatureStore, valkey: str, steps: list[Any], keep: int
) -> None:
    shop = Shop(shared, valkey, keep=keep)
    shop.client.flushdb()

    async def story() -> None:
        for what, where, value in steps:
            if what == "put":
                shop.put(where, value)
            elif what == "delete":
                shop.client.delete(name_of(where))
            else:
                assert await shop.read(*where) == await shop.stored(*where)
        shop.wire.close()

    asyncio.run(story())
    shop.client.close()


@pytest.fixture
def shared(tmp_path: Path, valkey: str) -> FeatureStore:
    return make_store(tmp_path, valkey, features=("big",))


def test_a_read_is_never_older_than_what_was_written_before_it(shop: Shop) -> None:
    """Somebody writes as fast as they can, while many read at once."""
    written, going = 0, True

    def write() -> None:
        nonlocal written
        value = 0
        while going:
            value += 1
            shop.put(1, value)
            written = value

    async def look() -> int:
        low = written
        value = (await shop.read(1, 3)).columns["big"][0]
        assert value is not None
        assert value >= low
        return int(value)

    async def story() -> list[int]:
        seen = []
        while written < 2000:
            seen += await asyncio.gather(*(look() for _ in range(8)))
        return seen

    shop.put(1, 0)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = asyncio.run(story())
    finally:
        going = False
        writer.join()
    assert len(set(seen)) > 10


def test_what_changed_while_it_was_on_its_way_is_not_kept() -> None:
    kept, mark = Kept(1, 10), object()
    kept.began()
    group = kept.group(0, [["a", "b"]])
    assert group is not None
    group.expect("a", b"A", mark)
    group.expect("b", b"B", mark)
    kept.changed([b"A"])
    group.keep(["a", "b"], [(1,), (2,)], mark)
    assert group.rows == {"b": (2,)}
    group.expect("a", b"A", mark)
    kept.ended()
    assert kept.group(0, []) is None
    kept.began()
    group.keep(["a"], [(1,)], mark)
    assert group.rows == {}


def test_nothing_is_kept_under_keys_that_may_be_others_too() -> None:
    kept = Kept(1, 10)
    kept.began()
    assert kept.group(0, [["a", None], [1, 2]]) is not None
    for alike in (True, 1.0, at(1.5)):  # of the last, the store knows the second alone
        assert kept.group(0, [["a", "b"], [1, alike]]) is None


def test_no_more_than_so_many_are_kept(tmp_path: Path, valkey: str) -> None:
    shop = Shop(make_store(tmp_path, valkey, features=("big",)), valkey, keep=4)

    async def story() -> None:
        for item in ITEMS:
            shop.put(item, item)
        for _ in range(3):
            assert (await shop.read(*ITEMS)).columns["big"] == list(ITEMS)
            assert (await shop.read(0, 1)).columns["big"] == [0, 1]
            assert shop.reader._kept is not None
            assert 0 < shop.reader._kept.size <= 4

    asyncio.run(story())


def test_a_store_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    port = free_port()
    server = EmbeddedServer(tmp_path / "run", "127.0.0.1", port)
    server.start()
    address = f"127.0.0.1:{port}"
    shop = Shop(make_store(tmp_path, address, features=("big",)), address)
    shop.put(1, 10)

    async def story() -> None:
        assert (await shop.read(1)).columns["big"] == [10]
        server.stop()
        with pytest.raises(StoreUnavailable):
            await shop.read(1)
        with pytest.raises(StoreUnavailable):  # nor does a read by itself take what was kept
            await shop.reader.read(_keys([1]), 1, NOW, kept=True)
        server.start()
        shop.put(1, 11)
        assert (await shop.read(1)).columns["big"] == [11]
        before = shop.asked()
        assert (await shop.read(1)).columns["big"] == [11]
        assert shop.asked() == before  # and it is kept again
        shop.wire.close()
        shop.put(1, 12)
        assert (await shop.read(1)).columns["big"] == [12]

    try:
        asyncio.run(story())
    finally:
        server.stop()


@pytest.mark.parametrize("refused", ["-client|tracking", "-hello"])
def test_a_store_that_does_not_tell_of_changes_is_asked_each_time(tmp_path: Path, valkey: str, refused: str) -> None:
    store = make_store(tmp_path, valkey, features=("big",))
    with redis.Redis.from_url(f"redis://{valkey}") as admin:
        admin.execute_command("ACL", "SETUSER", "limited", "on", ">word", "~*", "+@all", refused)
        try:
            online = store.config.online_store
            online.connection_string = f"{valkey},username=limited,password=word"
            shop = Shop(store, valkey)
            shop.put(1, 10)

            async def story() -> None:
                before = shop.asked()
                for value in (10, 11):
                    shop.put(1, value)
                    assert (await shop.read(1)).columns["big"] == [value]
                assert shop.asked() - before == 2
                shop.wire.close()

            asyncio.run(story())
        finally:
            admin.execute_command("ACL", "DELUSER", "limited")


def test_keys_that_run_out_by_themselves_are_not_kept(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big",), online={"key_ttl_seconds": 1})
    shop = Shop(store, valkey)

    async def story() -> None:
        shop.put(1, 10)
        assert (await shop.read(1)).columns["big"] == [10]
        shop.client.pexpire(name_of(1), 1)
        while shop.client.exists(name_of(1)):
            await asyncio.sleep(0.001)
        assert (await shop.read(1)).columns["big"] == [None]

    asyncio.run(story())


def test_a_key_that_equals_a_kept_one_is_no_better_for_it(shop: Shop) -> None:
    shop.put(1, 10)

    async def story() -> None:
        assert (await shop.read(1)).columns["big"] == [10]
        with pytest.raises(InvalidRequest, match=r"Entity 0: .*1\.0"):
            await shop.read(1.0)
        with pytest.raises(InvalidRequest, match="is not a key"):
            await shop.read([1])

    asyncio.run(story())


def test_what_a_reader_does_to_its_values_stays_its_own(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big", "several"))
    write_file(tmp_path, "a", [{"shop": "a", "item": 1, "big": 5, "several": [1, 2], "event_timestamp": 10}])
    materialize(store, now=NOW)
    shop = Shop(store, valkey, features=("big", "several"))

    async def story() -> None:
        for _ in range(2):
            rows = await shop.read(1)
            assert rows.columns == {"big": [5], "several": [[1, 2]]}
            rows.columns["big"][0] = 6
            rows.columns["several"][0].append(3)

    asyncio.run(story())
