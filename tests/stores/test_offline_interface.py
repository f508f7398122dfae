"""The rest of Feast's offline store interface: pulls, writes, logs, saved datasets, kinds of sources, errors."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, PushSource, ValueType
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.types import Float64, Int64, String

from core.errors import ConfigError, DataError
from tests.stores.conftest import MakeStore
from tests.stores.repo import BALANCE, TIME, amounts, asked, at, balance, read_rows, row, write_rows


class TestSources:
    def test_folder_of_windows(self, make_store: MakeStore, tmp_path: Path) -> None:
        store = make_store(balance())
        write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0)], BALANCE)
        write_rows(tmp_path / "balance/2.parquet", [row(1, 2.0, 10)], BALANCE)

        assert amounts(store, asked((1, 5), (1, 15))) == [1.0, 2.0]

    def test_later_file_settles_a_tie(self, make_store: MakeStore, tmp_path: Path) -> None:
        store = make_store(balance())
        for name, amount in (("2", 2.0), ("3", 3.0), ("1", 1.0)):
            write_rows(tmp_path / f"balance/{name}.parquet", [row(1, amount, 0)], BALANCE)

        assert amounts(store, asked((1, 5))) == [3.0]

    def test_unfinished_writes_are_not_read(self, make_store: MakeStore, tmp_path: Path) -> None:
        store = make_store(balance())
        write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0)], BALANCE)
        (tmp_path / "balance/.2.parquet.77.tmp").write_bytes(b"half a file")

        assert amounts(store, asked((1, 5))) == [1.0]

    def test_files_of_different_columns(self, make_store: MakeStore, tmp_path: Path) -> None:
        store = make_store(balance(schema=[Field(name="amount", dtype=Float64), Field(name="tier", dtype=String)]))
        write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0)], BALANCE)
        write_rows(
            tmp_path / "balance/2.parquet", [{**row(1, 2.0, 9), "tier": "gold"}], {**BALANCE, "tier": pa.string()}
        )

        got = store.get_historical_features(asked((1, 5), (1, 9)), ["balance:amount", "balance:tier"])

        assert [(r["amount"], r["tier"]) for r in read_rows(got.to_arrow())] == [(1.0, None), (2.0, "gold")]

    def test_single_file_relative_to_the_repo(self, make_store: MakeStore, tmp_path: Path) -> None:
        store = make_store(balance("rows/balance.parquet"))
        write_rows(tmp_path / "rows/balance.parquet", [row(1, 1.0, 0)], BALANCE)

        assert amounts(store, asked((1, 0))) == [1.0]

    def test_glob(self, make_store: MakeStore, tmp_path: Path) -> None:
        store = make_store(balance("balance/2024-*.parquet"))
        write_rows(tmp_path / "balance/2024-01.parquet", [row(1, 1.0, 0)], BALANCE)
        write_rows(tmp_path / "balance/2023-12.parquet", [row(1, 9.0, 1)], BALANCE)

        assert amounts(store, asked((1, 5))) == [1.0]

    @pytest.mark.parametrize("folder", ["missing", "empty"])
    def test_nothing_written_yet_gives_typed_nulls(self, make_store: MakeStore, tmp_path: Path, folder: str) -> None:
        store = make_store(balance(folder))
        (tmp_path / "empty").mkdir()

        got = store.get_historical_features(asked((1, 0), (2, 0)), ["balance:amount"]).to_arrow()

        assert got["amount"].to_pylist() == [None, None]
        assert got.schema.field("amount").type == pa.float64()

    def test_file_without_rows(self, make_store: MakeStore, tmp_path: Path) -> None:
        store = make_store(balance())
        write_rows(tmp_path / "balance/1.parquet", [], BALANCE)

        assert amounts(store, asked((1, 0))) == [None]

    def test_field_mapping(self, make_store: MakeStore, tmp_path: Path) -> None:
        mapping = {"amt": "amount", "uid": "user", "ts": "event_timestamp"}
        store = make_store(balance(field_mapping=mapping))
        renamed = {"amount": "amt", "user": "uid", "event_timestamp": "ts"}
        rows = [{renamed.get(k, k): v for k, v in row(1, 1.0, 0).items()}]
        schema = {renamed.get(k, k): v for k, v in BALANCE.items()}
        write_rows(tmp_path / "balance/1.parquet", rows, schema)

        assert amounts(store, asked((1, 3))) == [1.0]

    def test_push_source_reads_its_batch_source(self, make_store: MakeStore, tmp_path: Path) -> None:
        user, view = balance()
        pushed = FeatureView(
            name="balance",
            entities=[user],
            schema=[Field(name="amount", dtype=Float64)],
            source=PushSource(name="push", batch_source=view.batch_source),
        )
        store = make_store([user, pushed])
        write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0)], BALANCE)

        assert amounts(store, asked((1, 3))) == [1.0]


def test_column_that_no_file_has(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(balance(schema=[Field(name="amount", dtype=Float64), Field(name="tier", dtype=String)]))
    write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0)], BALANCE)

    with pytest.raises(DataError, match="tier"):
        store.get_historical_features(asked((1, 0)), ["balance:tier"]).to_df()


class TestPulls:
    ROWS = (row(1, 1.0, 0), row(1, 2.0, 10), row(2, 5.0, 5), row(1, 3.0, 10, created=20))

    @pytest.fixture
    def store(self, make_store: MakeStore, tmp_path: Path) -> FeatureStore:
        store = make_store(balance())
        write_rows(tmp_path / "balance/1.parquet", list(self.ROWS), BALANCE)
        return store

    def _pull(self, store: FeatureStore, what: str, start: float, end: float) -> list[dict[str, Any]]:
        pull = getattr(store._get_provider().offline_store, f"pull_{what}_from_table_or_query")
        source = store.get_feature_view("balance").batch_source
        job = pull(
            config=store.config,
            data_source=source,
            join_key_columns=["user"],
            feature_name_columns=["amount"],
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
            start_date=at(start),
            end_date=at(end),
        )
        return sorted(read_rows(job.to_arrow()), key=lambda r: (r["user"], r["event_timestamp"], r["amount"]))

    def test_latest_of_each_key_ties_by_created(self, store: FeatureStore) -> None:
        assert [r["amount"] for r in self._pull(store, "latest", 0, 10)] == [3.0, 5.0]

    def test_bounds_are_inclusive(self, store: FeatureStore) -> None:
        assert [r["amount"] for r in self._pull(store, "latest", 0, 9)] == [1.0, 5.0]
        assert [r["amount"] for r in self._pull(store, "all", 5, 10)] == [2.0, 3.0, 5.0]

    def test_all_rows_as_written(self, store: FeatureStore) -> None:
        expected = sorted(self.ROWS, key=lambda r: (r["user"], r["event_timestamp"], r["amount"]))

        assert self._pull(store, "all", 0, 100) == expected

    def test_nothing_written_yet(self, store: FeatureStore, tmp_path: Path) -> None:
        (tmp_path / "balance/1.parquet").unlink()

        assert self._pull(store, "latest", 0, 100) == []

    def test_feasts_own_materialize_reads_it(self, store: FeatureStore) -> None:
        store.materialize(at(-1), at(30))

        online = store.get_online_features(["balance:amount"], [{"user": 1}, {"user": 2}]).to_dict()

        assert online["amount"] == [3.0, 5.0]


class TestWrites:
    def test_append_to_a_folder(self, make_store: MakeStore, tmp_path: Path) -> None:
        store = make_store(balance())
        write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0)], BALANCE)

        store.write_to_offline_store("balance", pd.DataFrame([row(1, 2.0, 10), row(2, 4.0, 3)]))

        assert amounts(store, asked((1, 5), (1, 10), (2, 10))) == [1.0, 2.0, 4.0]
        assert pq.read_table(tmp_path / "balance/1.parquet").num_rows == 1

    def test_append_to_a_single_file(self, make_store: MakeStore, tmp_path: Path) -> None:
        store = make_store(balance("balance.parquet"))
        write_rows(tmp_path / "balance.parquet", [row(1, 1.0, 0)], BALANCE)

        store.write_to_offline_store("balance", pd.DataFrame([row(1, 2.0, 10)]))

        assert amounts(store, asked((1, 5), (1, 10))) == [1.0, 2.0]

    def test_wrong_columns_are_refused(self, make_store: MakeStore, tmp_path: Path) -> None:
        store = make_store(balance())
        write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0)], BALANCE)
        table = pa.table({"amount": [1.0], "user": [1]})

        with pytest.raises(DataError, match="balance"):
            store._get_provider().ingest_df_to_offline_store(store.get_feature_view("balance"), table)

    def test_nanoseconds_are_written_as_microseconds(self, make_store: MakeStore, tmp_path: Path) -> None:
        store = make_store(balance())
        write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0)], BALANCE)

        store.write_to_offline_store("balance", pd.DataFrame([row(1, 2.0, 10)]))

        for file in (tmp_path / "balance").glob("*.parquet"):
            assert pq.read_schema(file).field("event_timestamp").type.unit == "us"


class TestLogs:
    def test_written_and_read_back(self, make_store: MakeStore, tmp_path: Path) -> None:
        user, view = balance()
        service = FeatureService(
            name="risk",
            features=[view],
            logging_config=LoggingConfig(destination=FileLoggingDestination(path=str(tmp_path / "logs"))),
        )
        store = make_store([user, view, service])
        log = {
            "user": [1, 2],
            "balance__amount": [3.0, None],
            "balance__amount__timestamp": pa.array([at(1), at(2)], TIME),
            "balance__amount__status": pa.array([2, 0], pa.int32()),
            "__log_timestamp": pa.array([at(5), at(6)], TIME),
            "__log_date": pa.array([at(5).date()] * 2, pa.date32()),
            "__request_id": ["a", "b"],
        }

        store.write_logged_features(pa.table(log), service)
        store.write_logged_features(pa.table(log), service)
        job = store._get_provider().retrieve_feature_service_logs(service, at(5), at(5), store.config, store.registry)

        assert [(r["user"], r["balance__amount"]) for r in read_rows(job.to_arrow())] == [(1, 3.0), (1, 3.0)]

    def test_from_a_parquet_folder_partitioned(self, make_store: MakeStore, tmp_path: Path) -> None:
        user, view = balance()
        destination = FileLoggingDestination(path="logs", partition_by=["day"])
        service = FeatureService(name="risk", features=[view], logging_config=LoggingConfig(destination=destination))
        store = make_store([user, view, service])
        (tmp_path / "incoming").mkdir()
        pq.write_table(pa.table({"user": [1, 2], "day": ["mon", "tue"]}), tmp_path / "incoming/1.parquet")

        store.write_logged_features(tmp_path / "incoming", service)

        assert pq.read_table(tmp_path / "logs").num_rows == 2
        assert {p.name for p in (tmp_path / "logs").iterdir()} == {"day=mon", "day=tue"}


class TestSavedDatasets:
    @pytest.fixture
    def store(self, make_store: MakeStore, tmp_path: Path) -> FeatureStore:
        store = make_store(balance())
        write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0), row(2, 5.0, 5)], BALANCE)
        return store

    def test_kept_and_read_again(self, store: FeatureStore, tmp_path: Path) -> None:
        job = store.get_historical_features(asked((1, 5), (2, 7)), ["balance:amount"])

        store.create_saved_dataset(job, "training", SavedDatasetFileStorage(path="saved/training.parquet"))

        assert (tmp_path / "saved/training.parquet").is_file()
        again = store.get_saved_dataset("training").to_df()
        assert dict(zip(again["user"], again["amount"], strict=True)) == {1: 1.0, 2: 5.0}

    def test_of_a_query(self, store: FeatureStore) -> None:
        sql = "SELECT 2 AS user, TIMESTAMPTZ '2024-01-01 00:00:07+00' AS event_timestamp"
        job = store.get_historical_features(sql, ["balance:amount"])

        saved = store.create_saved_dataset(job, "query", SavedDatasetFileStorage(path="saved/query.parquet"))

        assert saved.to_df()["amount"].tolist() == [5.0]

    def test_not_overwritten_unless_asked(self, store: FeatureStore) -> None:
        storage = SavedDatasetFileStorage(path="saved/training.parquet")
        job = store.get_historical_features(asked((1, 5)), ["balance:amount"])
        job.persist(storage)

        with pytest.raises(SavedDatasetLocationAlreadyExists):
            job.persist(storage)
        job.persist(storage, allow_overwrite=True)

    def test_what_was_asked_for_is_recorded(self, store: FeatureStore) -> None:
        metadata = store.get_historical_features(asked((1, 5), (2, 7)), ["balance:amount"]).metadata

        assert metadata.features == ["balance:amount"]
        assert metadata.keys == ["user"]
        assert (metadata.min_event_timestamp, metadata.max_event_timestamp) == (at(5), at(7))


def test_other_kinds_of_sources_are_refused(make_store: MakeStore) -> None:
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    source = SparkSource(name="spark", table="balance", timestamp_field="event_timestamp")
    view = FeatureView(name="balance", entities=[user], schema=[Field(name="amount", dtype=Int64)], source=source)
    store = make_store([user])
    store.registry.apply_feature_view(view, store.project)

    with pytest.raises(ConfigError, match="balance"):
        amounts(store, asked((1, 5)))


def test_ttl_is_inclusive(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(balance(ttl=timedelta(seconds=3)))
    write_rows(tmp_path / "balance/1.parquet", [row(1, 1.0, 0)], BALANCE)

    assert amounts(store, asked((1, 3), (1, 3.000001))) == [1.0, None]
