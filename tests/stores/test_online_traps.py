"""What stock Feast gets wrong online, and we get right; where it is cheap to show, on stock Feast first."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import redis
from feast import FeatureStore

from stores.ledger import _key
from stores.reader import OnlineReader
from stores.rows import Status
from stores.writer import materialize
from tests.stores.online_repo import at, make_store, make_view, open_store, write_file

NOW = at(10_000)
OURS = "stores.online.BulkRedisOnlineStore"


def row(value: int, event: float, item: int = 1, **more: Any) -> dict[str, Any]:
    return {"shop": "a", "item": item, "big": value, "event_timestamp": event, **more}


def sdk(store: FeatureStore, *items: int) -> list[Any]:
    keys = [{"shop": "a", "item": item} for item in items]
    return list(store.get_online_features(["stock:big"], keys).to_dict()["big"])


def test_ttl_is_looked_at_on_read(tmp_path: Path, valkey: str) -> None:
    """feast#6821: a value of 20 minutes ago comes back from a view with a ttl of one second."""
    store = make_store(tmp_path, valkey, features=("big",), ttl=timedelta(seconds=1), tags={"stale": "missing"})
    write_file(tmp_path, "a", [row(7, 10_000 - 1200)])
    materialize(store, now=NOW)
    assert sdk(store, 1) == [7]
    rows = OnlineReader(store, ["stock:big"]).read_sync([{"shop": "a", "item": 1}], NOW)
    assert (rows.columns["big"], rows.views["stock"].status) == ([None], [Status.EXPIRED])


def test_late_rows_reach_the_online_store(tmp_path: Path, valkey: str) -> None:
    """feast#4133: incremental materialization passes over what arrives later than its watermark."""
    stock, ours = open_store(tmp_path, valkey, project="stock"), open_store(tmp_path, valkey, project="ours")
    for store in (stock, ours):
        store.apply(make_view(tmp_path, features=("big",), ttl=timedelta(days=36_500)))
    write_file(tmp_path, "a", [row(1, 100)])
    stock.materialize_incremental(at(5000))
    materialize(ours, now=at(5000))
    write_file(tmp_path, "b", [row(2, 200), row(7, 300, item=2), row(3, 6000, item=3)])  # two of them late
    stock.materialize_incremental(NOW)
    materialize(ours, now=NOW)
    assert sdk(stock, 1, 2, 3) == [1, None, 3]
    assert sdk(ours, 1, 2, 3) == [2, 7, 3]


def test_apply_does_not_reset_what_was_taken_in(tmp_path: Path, valkey: str) -> None:
    """feast#2905: applying a changed definition resets the watermark. The ledger is none of apply's business."""
    store = make_store(tmp_path, valkey, features=("big",))
    write_file(tmp_path, "a", [row(1, 100)])
    materialize(store, now=NOW)
    store.apply(make_view(tmp_path, features=("big",), tags={"owner": "someone else"}))
    assert materialize(store, now=NOW).views["stock"].files == 0


def test_a_new_feature_fills_the_view_again(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big",))
    write_file(tmp_path, "a", [row(1, 100, text="here")])
    materialize(store, now=NOW)
    store.apply(make_view(tmp_path, features=("big", "text")))
    assert materialize(store, now=NOW).written == 1
    assert store.get_online_features(["stock:text"], [{"shop": "a", "item": 1}]).to_dict()["text"] == ["here"]


def test_a_flushed_server_is_filled_again(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big",))
    write_file(tmp_path, "a", [row(1, 100)])
    materialize(store, now=NOW)
    redis.Redis.from_url(f"redis://{valkey}").flushall()
    assert materialize(store, now=NOW).written == 1
    assert sdk(store, 1) == [1]


@pytest.mark.parametrize("bulk", [True, False])
def test_expiry_is_set_on_every_write(tmp_path: Path, valkey: str, bulk: bool) -> None:
    """feast#3275: a key that is written again must live on."""
    store = make_store(tmp_path, valkey, kind=OURS, features=("big",), online={"key_ttl_seconds": 1000})
    client = redis.Redis.from_url(f"redis://{valkey}")
    for name, event in (("a", 100), ("b", 200)):
        if bulk:
            write_file(tmp_path, name, [row(1, event)])
            materialize(store, now=NOW)
        else:
            store.write_to_online_store("stock", pd.DataFrame([frame_row(1, event)]))
        (key,) = (k for k in client.keys("*") if not k.startswith(b"punctual:"))
        assert 990 < client.ttl(key) <= 1000
        client.expire(key, 5)


def frame_row(value: int, event: float, created: float | None = None) -> dict[str, Any]:
    moments = {"event_timestamp": at(event), "created_timestamp": at(event if created is None else created)}
    return {"shop": "a", "item": 1, "big": value, **moments}


def test_a_correction_pushed_through_the_sdk_arrives(tmp_path: Path, valkey: str) -> None:
    """Feast keeps the first of two rows with the same event time."""
    for kind, wanted in (("redis", [1]), (OURS, [2])):
        redis.Redis.from_url(f"redis://{valkey}").flushall()
        store = make_store(tmp_path, valkey, kind=kind, features=("big",))
        store.write_to_online_store("stock", pd.DataFrame([frame_row(1, 100)]))
        store.write_to_online_store("stock", pd.DataFrame([frame_row(2, 100, 150)]))
        assert sdk(store, 1) == wanted
    store.write_to_online_store("stock", pd.DataFrame([frame_row(3, 90), frame_row(4, 100, 120)]))
    assert sdk(store, 1) == [2]
    store.write_to_online_store("stock", pd.DataFrame([frame_row(6, 102), frame_row(5, 101)]))
    assert sdk(store, 1) == [6]
    asyncio.run(store.write_to_online_store_async("stock", pd.DataFrame([frame_row(7, 103)])))
    assert sdk(store, 1) == [7]


def test_stock_materialize_works_on_our_store(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, kind=OURS, features=("big", "text", "several"))
    write_file(tmp_path, "a", [row(i, 100 + i, item=i, text=f"t{i}", several=[i]) for i in range(30)])
    store.materialize(at(0), NOW, disable_event_timestamp=False)
    assert sdk(store, *range(30)) == list(range(30))


def test_deleting_a_view_forgets_its_files(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, kind=OURS, features=("big",))
    write_file(tmp_path, "a", [row(1, 100)])
    materialize(store, now=NOW)
    view = store.get_feature_view("stock")
    client = redis.Redis.from_url(f"redis://{valkey}")
    assert client.exists(_key(store.config, view))
    store.apply([], objects_to_delete=[view], partial=False)
    assert client.keys("*") == []
    store.apply(make_view(tmp_path, features=("big",)))
    assert materialize(store, now=NOW).written == 1
    store.teardown()
    assert client.keys("*") == []


def test_the_default_address_is_the_environments(valkey: str) -> None:
    from stores.online import BulkRedisOnlineStoreConfig

    assert BulkRedisOnlineStoreConfig().connection_string == valkey


def test_the_first_call_is_warm(tmp_path: Path, valkey: str) -> None:
    """The SDK's first call costs many times what the next one does: it connects and parses the registry then."""
    store = make_store(tmp_path, valkey, features=("big",))
    write_file(tmp_path, "a", [row(1, 100)])
    materialize(store, now=NOW)
    key = {"shop": ["a"], "item": [1]}
    client = redis.Redis.from_url(f"redis://{valkey}")

    async def story() -> tuple[list[Any], int]:
        reader = OnlineReader(store, ["stock:big"])
        await reader.warm()
        connections = client.info("stats")["total_connections_received"]
        rows = await reader.read(key, 1, NOW)
        return rows.columns["big"], client.info("stats")["total_connections_received"] - connections

    assert asyncio.run(story()) == ([1], 0)
