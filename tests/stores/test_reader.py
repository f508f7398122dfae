"""Online reads on a real Valkey: the SDK's values, one round trip, and ages that are looked at."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64

from core.errors import ConfigError, InvalidRequest, StaleFeatures, StoreUnavailable
from stores.embedded import EmbeddedServer
from stores.reader import OnlineReader
from stores.rows import Status
from stores.writer import materialize
from tests.conftest import free_port
from tests.stores.online_repo import KINDS, at, by_column, make_store, make_view, open_store, write_file

NOW = at(10_000)
ALL = [f"stock:{name}" for name in KINDS]


def row(i: int, event: float, **values: Any) -> dict[str, Any]:
    return {
        "shop": f"s{i % 3}", "item": i, "text": f"t{i}", "raw": b"\0" * i, "small": i, "big": -(2**40) - i,
        "double": i / 3, "single": i / 4, "flag": i % 2 == 0, "moment": at(i), "several": [i] * 2,
        "event_timestamp": event, **values,
    }  # fmt: skip


def filled(folder: Path, address: str, events: list[float], **view: Any) -> FeatureStore:
    store = make_store(folder, address, **view)
    write_file(folder, "first", [row(i, event) for i, event in enumerate(events)], name=view.get("name", "stock"))
    materialize(store, now=at(10**9))
    return store


def test_the_values_are_the_sdks(tmp_path: Path, valkey: str) -> None:
    store = filled(tmp_path, valkey, [10.5, 20, 30, 40, 50])
    keys = [{"shop": f"s{i % 3}", "item": i} for i in (4, 0, 1, 1, 77, 2, 4)]
    reader = OnlineReader(store, ALL)
    rows = reader.read_sync(keys, NOW)
    wanted = store.get_online_features(ALL, keys).to_dict()
    assert rows.columns == {name: wanted[name] for name in KINDS}
    assert rows == asyncio.run(reader.read(by_column(keys), len(keys), NOW))
    assert rows.views["stock"].event_timestamps == [at(50), at(10.5), at(20), at(20), None, at(30), at(50)]
    assert rows.views["stock"].status[4] is Status.NOT_FOUND
    assert rows.ages("stock")[1] == timedelta(seconds=10_000 - 10.5)
    assert (reader.join_keys, reader.views, reader.features) == (("item", "shop"), ("stock",), tuple(KINDS))


def test_one_round_trip_and_equal_keys_once(tmp_path: Path, valkey: str) -> None:
    store = filled(tmp_path, valkey, [10, 20])
    reader = OnlineReader(store, ["stock:big", "stock:text"])
    client = redis.Redis.from_url(f"redis://{valkey}")
    reader.read_sync([{"shop": "s0", "item": 0}], NOW)
    before = client.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"]
    reader.read_sync([{"shop": "s0", "item": 0}] * 50 + [{"shop": "s1", "item": 1}], NOW)
    assert client.info("commandstats")["cmdstat_hmget"]["calls"] - before == 2


def test_missing_and_absent_keys_give_missing_values_without_asking(tmp_path: Path, valkey: str) -> None:
    store = filled(tmp_path, valkey, [10])
    reader = OnlineReader(store, ["stock:big"])
    rows = reader.read_sync([{"shop": None, "item": 0}, {"item": 0}, {"shop": "s0", "item": 0}], NOW)
    assert rows.columns["big"] == [None, None, -(2**40)]
    assert reader.read_sync([], NOW).columns == {"big": []}


@pytest.mark.parametrize("key", ["1", 1.5, [1], 2**70, True and "x"])
def test_a_key_of_the_wrong_type_names_its_entity(tmp_path: Path, valkey: str, key: Any) -> None:
    reader = OnlineReader(filled(tmp_path, valkey, [10]), ["stock:big"])
    with pytest.raises(InvalidRequest, match="Entity 1.*stock") as raised:
        reader.read_sync([{"shop": "s0", "item": 0}, {"shop": "s0", "item": key}], NOW)
    assert raised.value.context == {"entity": 1}


@pytest.mark.parametrize(
    ("tags", "ttl", "statuses", "values"),
    [
        ({}, 0, [Status.PRESENT, Status.PRESENT], [0, 1]),
        ({}, 100, [Status.EXPIRED, Status.PRESENT], [None, 1]),
        ({"freshness": "1m"}, 100_000, [Status.STALE, Status.STALE], [0, 1]),
        ({"freshness": "1m", "stale": "missing"}, 100_000, [Status.EXPIRED, Status.EXPIRED], [None, None]),
        ({"freshness": "none"}, 0, [Status.PRESENT, Status.PRESENT], [0, 1]),
        ({"freshness": "none"}, 1, [Status.EXPIRED, Status.EXPIRED], [None, None]),
        ({"stale": "missing"}, 100, [Status.EXPIRED, Status.PRESENT], [None, 1]),
    ],
)
def test_freshness_is_a_promise_with_a_policy(
    tmp_path: Path, valkey: str, tags: dict[str, str], ttl: int, statuses: list[Status], values: list[int | None]
) -> None:
    store = filled(tmp_path, valkey, [100, 9_920], ttl=timedelta(seconds=ttl), tags=tags)
    rows = OnlineReader(store, ["stock:small"]).read_sync([{"shop": f"s{i}", "item": i} for i in (0, 1)], NOW)
    assert rows.views["stock"].status == statuses
    assert rows.columns["small"] == values
    assert rows.stale(0) == ([] if statuses[0] is Status.PRESENT else ["stock"])


def test_refuse_names_entity_view_age_and_promise(tmp_path: Path, valkey: str) -> None:
    store = filled(tmp_path, valkey, [9_990, 100], ttl=timedelta(hours=1), tags={"stale": "refuse"})
    reader = OnlineReader(store, ["stock:small"])
    assert reader.read_sync([{"shop": "s0", "item": 0}], NOW).columns["small"] == [0]
    with pytest.raises(StaleFeatures, match="Entity 1.*'stock' are 2:45:00 old.*promises 1:00:00") as raised:
        reader.read_sync([{"shop": "s0", "item": 0}, {"shop": "s1", "item": 1}], NOW)
    assert raised.value.context == {"entity": 1, "view": "stock", "age_seconds": 9900.0}


def test_exactly_as_old_as_promised_is_fresh(tmp_path: Path, valkey: str) -> None:
    store = filled(tmp_path, valkey, [9_900], ttl=timedelta(seconds=100))
    reader = OnlineReader(store, ["stock:small"])
    key = [{"shop": "s0", "item": 0}]
    assert reader.read_sync(key, NOW).views["stock"].status == [Status.PRESENT]
    assert reader.read_sync(key, NOW + timedelta(microseconds=1)).views["stock"].status == [Status.EXPIRED]


def test_values_of_a_time_to_come_do_not_exist_yet(tmp_path: Path, valkey: str) -> None:
    reader = OnlineReader(filled(tmp_path, valkey, [20_000]), ["stock:small"])
    rows = reader.read_sync([{"shop": "s0", "item": 0}], NOW)
    assert (rows.columns["small"], rows.views["stock"].status) == ([None], [Status.FUTURE])


def test_aliases_services_on_demand_views_and_full_names(tmp_path: Path, valkey: str) -> None:
    store = open_store(tmp_path, valkey)
    objects = make_view(tmp_path, keys=("item",), features=("small", "big"))
    view = objects[-1]
    asked = RequestSource(name="asked", schema=[Field(name="amount", dtype=Float64)])

    @on_demand_feature_view(sources=[asked], schema=[Field(name="twice", dtype=Float64)], mode="python")
    def double_it(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"twice": [v * 2 for v in inputs["amount"]]}

    left = view.with_name("bought").with_join_key_map({"item": "bought_item"})
    service = FeatureService(name="pair", features=[view[["small", "big"]], left[["small"]], double_it])
    store.apply([*objects, asked, double_it, service])
    write_file(tmp_path, "a", [{"item": i, "small": i, "big": i * 10, "event_timestamp": 5} for i in range(3)])
    materialize(store, now=NOW)
    registered = store.get_feature_service("pair")
    reader = OnlineReader(store, registered, full_feature_names=True)
    rows = reader.read_sync([{"item": 1, "bought_item": 2}], NOW)
    assert rows.columns == {"stock__small": [1], "stock__big": [10], "bought__small": [2]}
    assert reader.join_keys == ("item", "bought_item")
    with pytest.raises(ConfigError, match="'small' is in both 'stock' and 'bought'"):
        OnlineReader(store, registered)


def test_views_under_the_same_key_share_a_command_and_a_view_may_have_no_entity(tmp_path: Path, valkey: str) -> None:
    store = open_store(tmp_path, valkey)
    item = Entity(name="item", join_keys=["item"], value_type=ValueType.INT64)
    views = []
    for name, entities in (("one", [item]), ("two", [item]), ("world", [])):
        source = FileSource(
            name=name, path=str(tmp_path / "features" / name), timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        )  # fmt: skip
        schema = [Field(name="big" if name == "one" else "small" if name == "two" else "double", dtype=Int64)]
        if name == "world":
            schema = [Field(name="double", dtype=Float64)]
        if entities:
            schema.append(Field(name="item", dtype=Int64))
        views.append(FeatureView(name=name, entities=entities, schema=schema, source=source, ttl=timedelta(0)))
    store.apply([item, *views])
    write_file(tmp_path, "a", [{"item": 1, "big": 11, "event_timestamp": 5}], name="one")
    write_file(tmp_path, "a", [{"item": 1, "small": 22, "event_timestamp": 7}], name="two")
    write_file(tmp_path, "a", [{"double": 0.5, "event_timestamp": 9}], name="world")
    materialize(store, now=NOW)
    references = ["one:big", "two:small", "world:double"]
    rows = OnlineReader(store, references).read_sync([{"item": 1}, {"item": 2}], NOW)
    assert rows.columns == {"big": [11, None], "small": [22, None], "double": [0.5, 0.5]}
    assert rows.views["two"].event_timestamps == [at(7), None]
    sdk = store.get_online_features(references, [{"item": 1}]).to_dict()
    assert (sdk["big"], sdk["small"], sdk["double"]) == ([11], [22], [0.5])


@pytest.mark.parametrize(
    ("reference", "message"),
    [("stock:nonsense", "no feature 'nonsense'"), ("nonsense:x", "nonsense"), ("stock", "names no feature")],
)
def test_what_is_not_registered_is_named(tmp_path: Path, valkey: str, reference: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OnlineReader(make_store(tmp_path, valkey), [reference])


@pytest.mark.parametrize("tags", [{"stale": "sometimes"}, {"freshness": "6 parsecs"}])
def test_a_tag_that_cannot_be_read_is_named(tmp_path: Path, valkey: str, tags: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="stock"):
        OnlineReader(make_store(tmp_path, valkey, tags=tags), ["stock:big"])


def test_a_dead_server_is_named_and_a_restarted_one_is_found_again(tmp_path: Path) -> None:
    port = free_port()
    server = EmbeddedServer(tmp_path / "run", "127.0.0.1", port)
    server.start()
    reader = OnlineReader(filled(tmp_path, f"127.0.0.1:{port}", [10]), ["stock:small"])
    keys = [{"shop": "s0", "item": 0}]

    async def story() -> None:
        await reader.warm()
        assert (await reader.read(by_column(keys), 1, NOW)).columns["small"] == [0]
        server.stop()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} does not answer"):
                await reader.read(by_column(keys), 1, NOW)
            with pytest.raises(StoreUnavailable):
                reader.read_sync(keys, NOW)
        server.start()
        assert (await reader.read(by_column(keys), 1, NOW)).columns["small"] == [0]  # the append-only file kept it
        assert reader.read_sync(keys, NOW).columns["small"] == [0]

    asyncio.run(story())
    server.stop()


def test_many_requests_share_a_connection_and_get_their_own_answers(tmp_path: Path, valkey: str) -> None:
    store = filled(tmp_path, valkey, [10.0] * 60)
    reader = OnlineReader(store, ["stock:small"])

    async def one(i: int) -> None:
        keys = by_column([{"shop": f"s{j % 3}", "item": j} for j in range(i, 60)])
        rows = await reader.read(keys, 60 - i, NOW)
        assert rows.columns["small"] == list(range(i, 60))

    async def story() -> None:
        tasks = [asyncio.create_task(one(i)) for i in range(50)]
        cancelled = asyncio.create_task(one(0))
        await asyncio.sleep(0)
        cancelled.cancel()  # a client that goes away must not shift the others' answers
        await asyncio.gather(*tasks)
        await asyncio.gather(*(one(i) for i in range(50)))

    asyncio.run(story())
    asyncio.run(story())  # a second event loop opens its own connection
