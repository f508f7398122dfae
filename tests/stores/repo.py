"""What the tests of the offline store share: opening a repo, writing feature files, and reading results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64

OURS = {"type": "stores.offline.DuckDBAsofOfflineStore"}
OURS_WITHOUT_KNOWLEDGE_TIME = {**OURS, "honour_created_timestamp": False}
STOCK = {"type": "duckdb"}

TIME = pa.timestamp("us", tz="UTC")
BALANCE = {"user": pa.int64(), "amount": pa.float64(), "event_timestamp": TIME, "created_timestamp": TIME}

START = datetime(2024, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return a moment, in seconds after the start of all tests."""
    return START + timedelta(seconds=seconds)


def open_repo(folder: Path, offline: dict[str, Any]) -> FeatureStore:
    """Open a Feast store on ``folder``; stores of different kinds share one registry and one set of files."""
    return FeatureStore(
        config=RepoConfig(
            project="test",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store=dict(offline),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )


def write_rows(path: Path, rows: list[dict[str, Any]], schema: dict[str, pa.DataType]) -> None:
    """Write rows as Parquet with exactly these column types, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({name: pa.array([r[name] for r in rows], kind) for name, kind in schema.items()})
    pq.write_table(table, path)


def read_rows(table: pa.Table | pd.DataFrame) -> list[dict[str, Any]]:
    """Return a result as plain Python rows: NaN as None, so that stores that differ in null kinds compare."""
    rows = table.to_pylist() if isinstance(table, pa.Table) else table.to_dict("records")
    return [{k: None if pd.api.types.is_scalar(v) and pd.isna(v) else v for k, v in row.items()} for row in rows]


def row(user: int | None, amount: float | None, second: float, created: float | None = None) -> dict[str, Any]:
    """Return a feature row of :func:`balance`; times in seconds, created with its event unless told."""
    created = second if created is None else created
    return {"user": user, "amount": amount, "event_timestamp": at(second), "created_timestamp": at(created)}


def balance(path: str = "balance", **options: Any) -> list[Any]:
    """Return one entity and its view; ``path`` is relative to the repo."""
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    source = FileSource(
        name="balance",
        path=path,
        timestamp_field=options.pop("timestamp_field", "event_timestamp"),
        created_timestamp_column="created_timestamp",
        field_mapping=options.pop("field_mapping", None),
    )
    schema = options.pop("schema", [Field(name="amount", dtype=Float64)])
    view = FeatureView(name="balance", entities=[user], schema=schema, source=source, **options)
    return [user, view]


def asked(*rows: tuple[Any, float]) -> pd.DataFrame:
    """Return entity rows of (user, second)."""
    return pd.DataFrame({"user": [r[0] for r in rows], "event_timestamp": [at(r[1]) for r in rows]})


def amounts(store: FeatureStore, entities: Any, **options: Any) -> list[Any]:
    """Return the balance of each entity row."""
    job = store.get_historical_features(entities, ["balance:amount"], **options)
    return [r["amount"] for r in read_rows(job.to_arrow())]
