"""A small world of views to compare stores on: its definitions, random rows, and what the oracle says of them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.stores.oracle import lookup
from tests.stores.repo import at, read_rows, write_rows

TIME = pa.timestamp("us", tz="UTC")
TIMES = {"event_timestamp": TIME, "created_timestamp": TIME}
SCHEMAS = {
    "balance": {"user": pa.int64(), "amount": pa.int64(), "note": pa.string(), **TIMES},
    "visits": {"user": pa.int64(), "shop": pa.string(), "visits": pa.float64(), **TIMES},
    "weather": {"rain": pa.float64(), **TIMES},
}
TTL = {"balance": timedelta(seconds=4), "visits": None, "weather": timedelta(seconds=2)}
KEYS = {"balance": {"user": "user"}, "visits": {"user": "user", "shop": "shop"}, "weather": {}}
FRIEND = {"user": "friend"}


@dataclass(frozen=True)
class Stores:
    """The same repo, opened with each offline store."""

    folder: Path
    ours: FeatureStore
    ours_without: FeatureStore
    stock: FeatureStore

    def write(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        for name, rows in tables.items():
            write_rows(self.folder / f"{name}.parquet", rows, SCHEMAS[name])


def definitions(folder: Path) -> list[Any]:
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
    fields = {
        "balance": [Field(name="amount", dtype=Int64), Field(name="note", dtype=String)],
        "visits": [Field(name="visits", dtype=Float64)],
        "weather": [Field(name="rain", dtype=Float64)],
    }
    entities = {"balance": [user], "visits": [user, shop], "weather": []}
    views = {
        name: FeatureView(
            name=name,
            entities=entities[name],
            schema=schema,
            ttl=TTL[name],
            source=FileSource(
                name=name,
                path=str(folder / f"{name}.parquet"),
                timestamp_field="event_timestamp",
                created_timestamp_column="created_timestamp",
            ),
        )
        for name, schema in fields.items()
    }

    @on_demand_feature_view(
        sources=[views["balance"], RequestSource(name="basket", schema=[Field(name="price", dtype=Float64)])],
        schema=[Field(name="left_over", dtype=Float64)],
        mode="pandas",
    )
    def afford(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"left_over": inputs["amount"].astype("float64") - inputs["price"]})

    own = views["balance"].with_name("own")  # Feast cannot sort a service's plain and renamed uses of one view
    friend = views["balance"].with_name("friend").with_join_key_map(FRIEND)
    common = [own, friend, views["visits"], afford]
    return [
        user, shop, *views.values(), afford,
        FeatureService(name="common", features=common),
        FeatureService(name="all", features=[*common, views["weather"]]),
    ]  # fmt: skip


users = st.one_of(st.none(), st.integers(1, 3))
shops = st.one_of(st.none(), st.sampled_from(["a", "b"]))
events = st.integers(0, 8).map(at)
# Around whole seconds by a microsecond, so that "at the very moment" and "just after the ttl" are common.
moments = st.builds(lambda s, us: at(s) + timedelta(microseconds=us), st.integers(0, 12), st.integers(-1, 1))
# Mostly on time; some rows arrive late.
delays = st.one_of(st.just(0), st.just(0), st.integers(-1, 5))
values = st.one_of(st.none(), st.integers(0, 99))


@st.composite
def feature_rows(draw: st.DrawFn, name: str, *, unstamped: bool = False) -> list[dict[str, Any]]:
    rows = []
    for _ in range(draw(st.integers(0, 8))):
        event, value = draw(events), draw(values)
        created = event + timedelta(seconds=draw(delays))
        row = {"user": draw(users), "shop": draw(shops), "event_timestamp": event, "created_timestamp": created}
        if unstamped and draw(st.booleans()):
            row["created_timestamp"] = None
        float_value = None if value is None else float(value)
        rows.append({**row, "amount": value, "note": None if value is None else f"n{value}",
                     "visits": float_value, "rain": float_value})  # fmt: skip
    return [{c: row[c] for c in SCHEMAS[name]} for row in rows]


def tables(*, unstamped: bool = False) -> st.SearchStrategy[dict[str, list[dict[str, Any]]]]:
    return st.fixed_dictionaries({name: feature_rows(name, unstamped=unstamped) for name in SCHEMAS})


@st.composite
def entity_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    one = st.fixed_dictionaries({"user": users, "friend": users, "shop": shops, "event_timestamp": moments})
    rows = draw(st.lists(one, min_size=1, max_size=6))
    return rows + draw(st.lists(st.sampled_from(rows), max_size=2))  # duplicates are rows like any other


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    built = pd.DataFrame(rows)
    for key in ("user", "friend"):
        built[key] = built[key].astype("Int64")
    built["price"] = 10.0
    built["row"] = range(len(rows))
    return built


def expected(
    entities: list[dict[str, Any]], written: dict[str, list[dict[str, Any]]], *, knowledge_time: bool
) -> list[dict[str, Any]]:
    result = []
    for index, entity in enumerate(entities):
        row: dict[str, Any] = {"row": index}
        for name, keys in [*KEYS.items(), ("own", KEYS["balance"]), ("friend", FRIEND)]:
            source = name if name in SCHEMAS else "balance"
            found = lookup(entity, written[source], keys, ttl=TTL[source], knowledge_time=knowledge_time)
            for feature in set(SCHEMAS[source]) - {"user", "shop", *TIMES}:
                row[f"{name}__{feature}"] = found[feature] if found else None
        amount = row["balance__amount"]
        row["afford__left_over"] = None if amount is None else amount - 10.0
        result.append(row)
    return result


def retrieve(
    store: FeatureStore, entities: list[dict[str, Any]], service: str = "all", **options: Any
) -> list[dict[str, Any]]:
    job = store.get_historical_features(
        frame(entities), store.get_feature_service(service), full_feature_names=True, **options
    )
    inputs = {"user", "friend", "shop", "price", "event_timestamp"}
    got = [{k: v for k, v in row.items() if k not in inputs} for row in read_rows(job.to_arrow())]
    return sorted(got, key=lambda row: int(row["row"])) if store.config.offline_store.type == "duckdb" else got


def without_weather(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Feast's DuckDB store cannot join a view that has no entities: it looks for a key that no file has."""
    return [{k: v for k, v in row.items() if k != "weather__rain"} for row in rows]


def any_number_of(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def crowded_row(rng: random.Random, name: str) -> dict[str, Any]:
    event, value = at(rng.randint(0, 15)), rng.choice([None, *range(50)])
    row = {
        "user": rng.choice([None, 1, 2, 3]),
        "shop": rng.choice([None, "a", "b"]),
        "amount": value,
        "note": None if value is None else f"n{value}",
        "visits": None if value is None else float(value),
        "rain": None if value is None else float(value),
        "event_timestamp": event,
        "created_timestamp": rng.choice([None, event, event, event + timedelta(seconds=rng.randint(-2, 8))]),
    }
    return {column: row[column] for column in SCHEMAS[name]}
