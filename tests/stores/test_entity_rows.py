"""What may be asked for: frames, SQL, ranges of time, keys and times of any type, and clear errors for the rest."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from feast import FeatureStore

from core.errors import DataError
from tests.stores.conftest import MakeStore
from tests.stores.repo import BALANCE, amounts, asked, at, balance, row, write_rows


@pytest.fixture
def store(make_store: MakeStore, tmp_path: Path) -> FeatureStore:
    store = make_store(balance())
    rows = [row(1, 1.0, 0), row(1, 2.0, 10), row(2, 5.0, 5)]
    write_rows(tmp_path / "balance/1.parquet", rows, BALANCE)
    return store


def test_sql(store: FeatureStore) -> None:
    moment = "TIMESTAMPTZ '2024-01-01 00:00:07+00' AS event_timestamp"
    sql = f"SELECT 1 AS user, {moment} UNION ALL SELECT 2, {moment} ORDER BY ALL"

    assert amounts(store, sql) == [1.0, 5.0]


def test_sql_that_does_not_run(store: FeatureStore) -> None:
    with pytest.raises(DataError, match="nowhere"):
        amounts(store, "SELECT * FROM nowhere")


def test_range_of_time_gives_every_key_as_of_its_end(store: FeatureStore) -> None:
    got = store.get_historical_features(None, ["balance:amount"], start_date=at(0), end_date=at(7)).to_df()

    assert dict(zip(got["user"], got["amount"], strict=True)) == {1: 1.0, 2: 5.0}
    assert set(got["event_timestamp"]) == {pd.Timestamp(at(7))}


def test_range_leaves_out_what_lies_before_it(store: FeatureStore) -> None:
    got = store.get_historical_features(None, ["balance:amount"], start_date=at(4), end_date=at(7)).to_df()

    assert got["user"].tolist() == [2]


def test_no_rows(store: FeatureStore) -> None:
    empty = asked((1, 0)).iloc[:0]

    got = store.get_historical_features(empty, ["balance:amount"]).to_arrow()

    assert got.num_rows == 0
    assert got.column_names == ["user", "event_timestamp", "amount"]


def test_other_name_of_the_only_time_column(store: FeatureStore) -> None:
    assert amounts(store, asked((1, 5)).rename(columns={"event_timestamp": "when"})) == [1.0]


@pytest.mark.parametrize("kind", ["int32", "Int64", "float64", "int8"])
def test_integer_keys_of_any_width(store: FeatureStore, kind: str) -> None:
    assert amounts(store, asked((1, 5), (2, 5)).astype({"user": kind})) == [1.0, 5.0]


def test_null_keys_match_nothing(store: FeatureStore, tmp_path: Path) -> None:
    write_rows(tmp_path / "balance/2.parquet", [row(None, 9.0, 0)], BALANCE)

    assert amounts(store, asked((None, 5), (1, 5))) == [None, 1.0]


def test_text_where_numbers_are_needed(store: FeatureStore) -> None:
    with pytest.raises(DataError, match="user"):
        amounts(store, asked(("one", 5)))


def test_missing_key_names_it_and_the_view(store: FeatureStore) -> None:
    with pytest.raises(DataError, match=r"user.*balance"):
        amounts(store, asked((1, 5)).rename(columns={"user": "customer"}))


def test_no_time_column(store: FeatureStore) -> None:
    with pytest.raises(DataError, match="time"):
        amounts(store, pd.DataFrame({"user": [1]}))


def test_times_that_are_none(store: FeatureStore) -> None:
    with pytest.raises(DataError, match="event_timestamp"):
        amounts(store, pd.DataFrame({"user": [1], "event_timestamp": ["yesterday-ish"]}))


def test_a_feature_name_that_is_taken(store: FeatureStore) -> None:
    with pytest.raises(DataError, match="amount"):
        amounts(store, asked((1, 5)).assign(amount=3.0))


def test_mixed_types(store: FeatureStore) -> None:
    with pytest.raises(DataError):
        amounts(store, asked((1, 5), ("two", 5)))


def test_the_given_frame_is_left_alone(store: FeatureStore) -> None:
    given = asked((2, 9), (1, 5))
    before = given.copy(deep=True)

    amounts(store, given)

    pd.testing.assert_frame_equal(given, before)
