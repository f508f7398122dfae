"""A small Feast repo on a real Valkey: one view with every scalar type, and functions to write its files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

START = datetime(2024, 1, 1, tzinfo=UTC)
UTC_US = pa.timestamp("us", tz="UTC")
KINDS: dict[str, tuple[Any, pa.DataType]] = {
    "text": (String, pa.string()),
    "raw": (Bytes, pa.binary()),
    "small": (Int32, pa.int32()),
    "big": (Int64, pa.int64()),
    "double": (Float64, pa.float64()),
    "single": (Float32, pa.float32()),
    "flag": (Bool, pa.bool_()),
    "moment": (UnixTimestamp, UTC_US),
    "several": (Array(Int64), pa.list_(pa.int64())),
}
KEY_KINDS = {"shop": (ValueType.STRING, String, pa.string()), "item": (ValueType.INT64, Int64, pa.int64())}


def at(seconds: float) -> datetime:
    """Return a moment, in seconds after the start of all tests."""
    return START + timedelta(seconds=seconds)


def make_view(
    folder: Path,
    *,
    name: str = "stock",
    keys: tuple[str, ...] = ("shop", "item"),
    features: tuple[str, ...] = tuple(KINDS),
    ttl: timedelta = timedelta(0),
    tags: dict[str, str] | None = None,
) -> list[Any]:
    """Return the entities of the keys and a view over ``<folder>/features/<name>``."""
    entities = [Entity(name=key, join_keys=[key], value_type=KEY_KINDS[key][0]) for key in keys]
    source = FileSource(
        name=name,
        path=str(folder / "features" / name),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    view = FeatureView(
        name=name,
        entities=entities,
        schema=[
            *(Field(name=key, dtype=KEY_KINDS[key][1]) for key in keys),
            *(Field(name=feature, dtype=KINDS[feature][0]) for feature in features),
        ],
        source=source,
        ttl=ttl,
        tags=tags or {},
    )
    return [*entities, view]


def open_store(
    folder: Path, address: str, *, kind: str = "redis", project: str = "shop", **online: Any
) -> FeatureStore:
    """Open a Feast store whose online store is this Valkey."""
    (folder / "features").mkdir(exist_ok=True)
    return FeatureStore(
        config=RepoConfig(
            project=project,
            provider="local",
            registry=str(folder / f"{project}.db"),
            offline_store={"type": "file"},
            online_store={"type": kind, "connection_string": address, **online},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )


def make_store(folder: Path, address: str, *, kind: str = "redis", online: Any = None, **view: Any) -> FeatureStore:
    """Open a store and apply one view to it."""
    store = open_store(folder, address, kind=kind, **(online or {}))
    store.apply(make_view(folder, **view))
    return store


def write_file(folder: Path, file: str, rows: list[dict[str, Any]], *, name: str = "stock") -> Path:
    """Write rows as one feature file; ``event_timestamp`` (and ``created_timestamp``) in seconds after the start."""
    kinds = {k: v[2] for k, v in KEY_KINDS.items()} | {k: v[1] for k, v in KINDS.items()}
    columns: dict[str, pa.Array] = {}
    for column in rows[0]:
        values = [row[column] for row in rows]
        if column.endswith("_timestamp"):
            columns[column] = pa.array([None if v is None else at(v) for v in values], UTC_US)
        else:
            columns[column] = pa.array(values, kinds[column])
    if "created_timestamp" not in columns:
        columns["created_timestamp"] = columns["event_timestamp"]
    path = folder / "features" / name / f"{file}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def by_column(keys: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return keys as the reader takes them from an event loop."""
    return {name: [key[name] for key in keys] for name in keys[0]}


def dump(address: str) -> dict[bytes, Any]:
    """Return everything that the Valkey holds."""
    import redis

    host, port = address.split(":")
    with redis.Redis(host=host, port=int(port)) as client, client.pipeline(transaction=False) as pipe:
        keys = client.keys("*")
        for key in keys:
            pipe.hgetall(key)
        return dict(zip(keys, pipe.execute(), strict=True))
