"""Bulk materialization on a real Valkey: what Feast reads back, what order means, and what a kill leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import ConfigError, DataError, StoreUnavailable
from stores.writer import materialize
from tests.conftest import free_port
from tests.stores.online_repo import at, dump, make_store, make_view, open_store, write_file

NOW = at(10_000)


def read(store: Any, feature: str = "big", **key: Any) -> Any:
    key = key or {"shop": "a", "item": 1}
    return store.get_online_features([f"stock:{feature}"], [key]).to_dict()[feature][0]


def row(value: int | None, event: float, created: float | None = None, *, shop: str | None = "a", item: int = 1) -> Any:
    return {
        "shop": shop,
        "item": item,
        "big": value,
        "event_timestamp": event,
        "created_timestamp": event if created is None else created,
    }


def test_the_sdk_reads_every_type_as_stock_feast_writes_it(tmp_path: Path, valkey: str) -> None:
    rows = [
        {
            "shop": f"shop {i}", "item": i - 2, "text": "é" * i, "raw": bytes(range(i)), "small": -i, "big": 2**40 + i,
            "double": i / 3, "single": i / 4, "flag": i % 2 == 0, "moment": at(i + 0.5), "several": [i, -i],
            "event_timestamp": i,
        }
        for i in range(5)
    ]  # fmt: skip
    nothing = dict.fromkeys(["text", "raw", "small", "big", "double", "single", "flag", "moment", "several"])
    rows.append({"shop": "empty", "item": 9, **nothing, "event_timestamp": 1.0})
    write_file(tmp_path, "first", rows)
    stock, ours = (open_store(tmp_path, valkey, project=p) for p in ("stock", "ours"))
    features = [f"stock:{name}" for name in nothing]
    keys = [{"shop": r["shop"], "item": r["item"]} for r in rows] + [{"shop": "unknown", "item": 0}]
    for store in (stock, ours):
        store.apply(make_view(tmp_path))
    stock.materialize(at(-10), NOW, disable_event_timestamp=False)
    assert materialize(ours, now=NOW).written == len(rows)
    wanted = stock.get_online_features(features, keys).to_dict()
    assert ours.get_online_features(features, keys).to_dict() == wanted
    assert wanted["several"][4] == [4, -4]
    assert wanted["moment"][1] == at(1)


def test_the_latest_row_of_a_key_wins_and_what_is_not_due_yet_waits(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big",))
    write_file(tmp_path, "first", [row(1, 10), row(3, 30, 31), row(4, 30, 30), row(2, 20), row(9, 99_999)])
    report = materialize(store, now=NOW).views["stock"]
    assert (report.rows, report.written, report.future) == (5, 1, 1)
    assert read(store) == 3
    assert materialize(store, now=at(100_000)).written == 1
    assert read(store) == 9


def test_a_second_run_finds_its_work_done(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big",))
    write_file(tmp_path, "first", [row(1, 10)])
    assert materialize(store, now=NOW).views["stock"].files == 1
    before = dump(valkey)
    again = materialize(store, now=NOW)
    assert again.views["stock"].files == 0
    assert again.summary() == "The online store is up to date."
    assert dump(valkey) == before


def test_never_older_over_newer_whatever_the_order(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big",))
    write_file(tmp_path, "b", [row(5, 50, 60)])
    materialize(store, now=NOW)
    write_file(tmp_path, "a", [row(4, 40), row(6, 50, 55, item=1)])  # older, and same time but known earlier
    materialize(store, now=NOW)
    assert read(store) == 5
    write_file(tmp_path, "c", [row(7, 50, 70)])  # a correction
    materialize(store, now=NOW)
    assert read(store) == 7
    write_file(tmp_path, "d", [row(None, 51)])  # newer and null: the old value must not shine through
    materialize(store, now=NOW)
    assert read(store) is None
    assert not any(field.startswith(b"_created") for hash_ in dump(valkey).values() for field in hash_)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4),
        min_size=1, max_size=4,
    ).filter(lambda files: len({r for f in files for r in f}) == sum(map(len, files))),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_any_order_of_arrival_leads_to_the_latest(
    tmp_path_factory: pytest.TempPathFactory, valkey: str, files: list[list[tuple[int, int, int]]], random: Any
) -> None:
    folder = tmp_path_factory.mktemp("order")
    redis.Redis.from_url(f"redis://{valkey}").flushall()
    store = make_store(folder, valkey, features=("big",))
    best: dict[int, tuple[int, int]] = {}
    names = list("abcd")[: len(files)]
    random.shuffle(names)
    for name, entries in zip(names, files, strict=True):
        write_file(folder, name, [row(e * 10 + d, e, e + d, item=key) for key, e, d in entries])
        materialize(store, now=NOW)
        for key, e, d in entries:
            best[key] = max(best.get(key, (e, d)), (e, d))
    for key, (e, d) in best.items():
        assert read(store, shop="a", item=key) == e * 10 + d


def test_a_changed_file_is_written_over_what_is_stored(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big",))
    write_file(tmp_path, "a", [row(1, 10), row(1, 10, item=2)])
    write_file(tmp_path, "b", [row(2, 99)])
    materialize(store, now=NOW)
    write_file(tmp_path, "b", [row(3, 20)])  # a rebuild: the row of second 99 was wrong and is gone
    report = materialize(store, now=NOW)
    assert report.views["stock"].files == 2
    assert read(store) == 3
    assert materialize(store, now=NOW).views["stock"].files == 0


def test_rows_without_a_key_or_time_are_counted_and_left_out(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big",))
    write_file(tmp_path, "a", [row(1, 10), row(2, 10, shop=None), {**row(3, 10), "event_timestamp": None}])
    report = materialize(store, now=NOW)
    assert (report.written, report.views["stock"].unusable) == (1, 2)
    assert "2 without a key or time" in report.summary()


def test_concurrent_writers_leave_the_latest(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big",))
    for number in range(6):
        write_file(tmp_path, f"{number}", [row(number, 10 + number, item=i) for i in range(400)])

    def one(_: int) -> int:
        return materialize(store, now=NOW).written

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(4)))
    keys = [{"shop": "a", "item": i} for i in range(400)]
    assert set(store.get_online_features(["stock:big"], keys).to_dict()["big"]) == {5}


def test_unknown_views_missing_columns_and_a_dead_server_are_named(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big", "text"))
    with pytest.raises(ConfigError, match="no online feature view 'nonsense'"):
        materialize(store, ["nonsense"], now=NOW)
    write_file(tmp_path, "a", [row(1, 10)])
    with pytest.raises(DataError, match=r"'stock' cannot be read.*text"):
        materialize(store, now=NOW)
    away = open_store(tmp_path, f"127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        materialize(away, now=NOW)


def test_progress_counts_rows(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big",))
    write_file(tmp_path, "a", [row(i, 10, item=i) for i in range(50)])
    seen: list[tuple[int, str]] = []
    materialize(store, now=NOW, progress=lambda steps=1, *, note="": seen.append((steps, note)))
    assert sum(steps for steps, _ in seen) == 50  # in one or more batches
    assert {note for _, note in seen} == {"stock"}


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed_it_is_the_same_store(tmp_path: Path, valkey: str) -> None:
    store = make_store(tmp_path, valkey, features=("big", "text"))
    rows = 30_000
    for half in (0, 1):
        write_file(
            tmp_path, f"{half}",
            [{**row(i + half, 10 + half * (i % 2), item=i), "text": f"row {i} {half}"} for i in range(rows)],
        )  # fmt: skip
    materialize(store, now=NOW)
    wanted = dump(valkey)
    client = redis.Redis.from_url(f"redis://{valkey}")
    client.flushall()
    code = (
        "import sys; from pathlib import Path; from tests.stores.online_repo import open_store, at\n"
        "from stores.writer import materialize\n"
        "materialize(open_store(Path(sys.argv[1]), sys.argv[2]), now=at(10_000))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), valkey],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())}, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while client.dbsize() < rows // 6 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < client.dbsize() < rows, "it was not killed in the middle"
    assert not client.keys("punctual:ledger:*")
    materialize(store, now=NOW)
    assert dump(valkey) == wanted
