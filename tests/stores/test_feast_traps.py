"""What stock Feast gets wrong offline, and this store gets right: each seen once, each kept as a test."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore

from tests.stores.conftest import MakeStore
from tests.stores.repo import (
    BALANCE,
    OURS_WITHOUT_KNOWLEDGE_TIME,
    STOCK,
    amounts,
    asked,
    at,
    balance,
    read_rows,
    row,
    write_rows,
)


def test_backfilled_values_do_not_leak_into_the_past(make_store: MakeStore, tmp_path: Path) -> None:
    path = str(tmp_path / "balance.parquet")
    # The value of second 4 was corrected at second 20.
    write_rows(Path(path), [row(1, 1.0, 4), row(1, 99.0, 4, created=20)], BALANCE)
    entities = asked((1, 10), (1, 30))

    ours = amounts(make_store(balance(path)), entities)
    leaky = amounts(make_store(balance(path), OURS_WITHOUT_KNOWLEDGE_TIME), entities)
    stock = amounts(make_store(balance(path), STOCK), entities)

    assert ours == [1.0, 99.0]
    assert leaky == stock == [99.0, 99.0]


def test_an_older_row_that_was_visible_is_found_behind_newer_ones_that_were_not(
    make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store(balance())
    rows = [row(1, 1.0, 1), row(1, 2.0, 5, created=50), row(1, 3.0, 6, created=40), row(1, 0.0, 0, created=45)]
    write_rows(tmp_path / "balance/1.parquet", rows, BALANCE)

    assert amounts(store, asked((1, 30), (1, 40), (1, 47), (1, 50), (1, 0))) == [1.0, 3.0, 3.0, 3.0, None]


def test_two_rows_that_become_visible_at_once(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(balance())
    rows = [row(1, 2.0, 6, created=40), row(1, 1.0, 5, created=40), row(1, 3.0, 6, created=40)]
    write_rows(tmp_path / "balance/1.parquet", rows, BALANCE)
    many = asked(*[(1, 41)] * 100)  # more rows than DuckDB joins in a loop

    assert set(amounts(store, many)) == {3.0}


def test_rows_of_the_same_key_and_time_are_settled_not_dropped(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(balance())
    rows = [row(1, 1.0, 4), row(1, 2.0, 4), row(2, 7.0, 4, created=3), row(2, 6.0, 4, created=2)]
    write_rows(tmp_path / "balance/1.parquet", rows, BALANCE)

    assert amounts(store, asked((1, 4), (2, 4))) == [2.0, 7.0]


@pytest.mark.parametrize("copies", [1, 50])
def test_every_entity_row_comes_back_in_its_place(make_store: MakeStore, tmp_path: Path, copies: int) -> None:
    store = make_store(balance())
    write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0), row(2, 2.0, 0)], BALANCE)
    entities = asked((2, 9), (1, 3), (2, 9), (7, 9), (None, 4), (1, 3))
    entities = pd.concat([entities] * copies, ignore_index=True)
    entities["row_id"] = [f"r{i}" for i in range(len(entities))]

    got = read_rows(store.get_historical_features(entities, ["balance:amount"]).to_arrow())

    assert [r["row_id"] for r in got] == entities["row_id"].tolist()
    assert [r["amount"] for r in got] == [2.0, 1.0, 2.0, None, None, 1.0] * copies


def _typed(rows: list[dict[str, Any]], kind: pa.DataType) -> pa.Table:
    """Return feature rows with times of another resolution or zone; naive ones mean UTC."""

    def times(column: str) -> pa.Array:
        values: list[datetime] = [r[column] for r in rows]
        aware = pa.array(values, pa.timestamp("us", tz="UTC"))
        return aware.cast(pa.timestamp("us")).cast(kind) if kind.tz is None else aware.cast(kind)

    return pa.table(
        {
            "user": pa.array([r["user"] for r in rows], pa.int64()),
            "amount": [r["amount"] for r in rows],
            "event_timestamp": times("event_timestamp"),
            "created_timestamp": times("created_timestamp"),
        }
    )


KINDS = [pa.timestamp(unit, tz=tz) for unit in ("ns", "us", "ms") for tz in (None, "UTC", "America/New_York")]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_feature_times_of_any_resolution_and_zone(make_store: MakeStore, tmp_path: Path, kind: pa.DataType) -> None:
    store = make_store(balance())
    (tmp_path / "balance").mkdir()
    rows = [row(1, 1.0, 0), row(1, 2.0, 10), row(1, 3.0, 10, created=20)]
    pq.write_table(_typed(rows, kind), tmp_path / "balance/1.parquet")

    assert amounts(store, asked((1, 9), (1, 10), (1, 19), (1, 20))) == [1.0, 2.0, 2.0, 3.0]


@pytest.mark.parametrize("unit", ["ns", "us", "ms", "s"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_entity_times_of_any_resolution_and_zone(
    make_store: MakeStore, tmp_path: Path, unit: str, zone: str | None
) -> None:
    store = make_store(balance())
    write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0), row(1, 2.0, 10)], BALANCE)
    entities = asked((1, 9), (1, 10))
    moments = entities["event_timestamp"].dt.as_unit(unit)
    entities["event_timestamp"] = moments.dt.tz_localize(None) if zone is None else moments.dt.tz_convert(zone)

    assert amounts(store, entities) == [1.0, 2.0]


def test_entity_times_as_text(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(balance())
    write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0), row(1, 2.0, 10)], BALANCE)
    entities = pd.DataFrame({"user": [1, 1], "event_timestamp": ["2024-01-01T00:00:09Z", "2024-01-01 00:00:10"]})

    assert amounts(store, entities) == [1.0, 2.0]


def test_nanoseconds_are_pulled_as_times_not_as_text(make_store: MakeStore, tmp_path: Path) -> None:
    path = tmp_path / "balance.parquet"
    pq.write_table(_typed([row(1, 1.0, 0)], pa.timestamp("ns", tz="UTC")), path)

    def pulled(store: FeatureStore) -> pa.DataType:
        job = store._get_provider().offline_store.pull_latest_from_table_or_query(
            store.config,
            store.get_feature_view("balance").batch_source,
            ["user"],
            ["amount"],
            "event_timestamp",
            "created_timestamp",
            at(-1),
            at(9),
        )
        return job.to_arrow().schema.field("event_timestamp").type

    assert pulled(make_store(balance(str(path)))) == pa.timestamp("us", tz="UTC")
    assert pulled(make_store(balance(str(path)), STOCK)) == pa.string()
