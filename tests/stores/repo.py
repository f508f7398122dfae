"""What the tests of the offline store share: opening a repo, writing feature files, and reading results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore, RepoConfig

OURS = {"type": "stores.offline.DuckDBAsofOfflineStore"}
OURS_WITHOUT_KNOWLEDGE_TIME = {**OURS, "honour_created_timestamp": False}
STOCK = {"type": "duckdb"}

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
