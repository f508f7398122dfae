"""A year of invented airport traffic, the same at every call: six views of 3,000 to 328,000 rows, as real ones have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64, String

YEAR = pd.Timestamp("2013-01-01", tz="UTC")
HOURS = 365 * 24
ORIGINS = np.array(["EWR", "JFK", "LGA"])
CARRIERS = np.array([f"C{i:02d}" for i in range(16)])
DESTINATIONS = np.array([f"D{i:03d}" for i in range(100)])
AIRCRAFT = np.array([f"N{i:05d}" for i in range(3_000)])


@dataclass(frozen=True)
class View:
    """One feature view of the benchmark: its join keys, features, rows and ttl."""

    name: str
    keys: tuple[str, ...]
    features: dict[str, Any]
    rows: int
    ttl: timedelta


VIEWS = (
    View("aircraft", ("tailnum",), {"seats": Int64, "year": Int64, "maker": String}, 3_000, timedelta(0)),
    View(
        "weather",
        ("origin",),
        {"wind": Float64, "visibility": Float64, "rain": Float64},
        26_000,
        timedelta(hours=6),
    ),
    View(
        "carrier",
        ("carrier",),
        {"delay_6h": Float64, "delay_7d": Float64, "flights_6h": Int64},
        319_000,
        timedelta(days=7),
    ),
    View("route", ("origin", "dest"), {"delay_3d": Float64, "delay_30d": Float64}, 328_000, timedelta(days=30)),
    View(
        "congestion",
        ("origin",),
        {"departures_1h": Int64, "delay_1h": Float64, "delay_3h": Float64},
        328_000,
        timedelta(hours=12),
    ),
    View("rotation", ("tailnum",), {"last_delay": Float64, "rate_30d": Float64}, 328_000, timedelta(days=30)),
)

_POOLS = {"origin": ORIGINS, "dest": DESTINATIONS, "carrier": CARRIERS, "tailnum": AIRCRAFT}


def _moments(rng: np.random.Generator, rows: int) -> pd.DatetimeIndex:
    seconds = np.sort(rng.integers(0, HOURS * 3600, rows))
    return (YEAR + pd.to_timedelta(seconds, unit="s")).as_unit("us")


def _values(rng: np.random.Generator, dtype: Any, rows: int) -> Any:
    if dtype == String:
        return rng.choice(np.array(["BOEING", "AIRBUS", "EMBRAER"]), rows)
    if dtype == Int64:
        return rng.integers(0, 400, rows)
    values = rng.normal(10.0, 30.0, rows).round(3)
    return np.where(rng.random(rows) < 0.02, np.nan, values)


def feature_rows(view: View, *, backfilled: float = 0.0) -> pd.DataFrame:
    """Return the rows of one view; a share of them became known up to two days after their event."""
    rng = np.random.default_rng(sum(map(ord, view.name)))
    keys = {
        k: AIRCRAFT[: view.rows] if view.name == "aircraft" else rng.choice(_POOLS[k], view.rows) for k in view.keys
    }
    moments = (
        pd.DatetimeIndex([YEAR] * view.rows).as_unit("us") if view.name == "aircraft" else _moments(rng, view.rows)
    )
    late = rng.random(view.rows) < (0.0 if view.name == "aircraft" else backfilled)
    delay = np.where(late, rng.integers(1, 48 * 3600, view.rows), 0)
    frame = pd.DataFrame({**keys, **{f: _values(rng, t, view.rows) for f, t in view.features.items()}})
    frame["event_timestamp"] = moments
    frame["created_timestamp"] = moments + pd.to_timedelta(delay, unit="s")
    # One row a key and moment: which of two equals counts is not what is measured here.
    return frame.drop_duplicates([*view.keys, "event_timestamp"])


def entity_rows(rows: int) -> pd.DataFrame:
    """Return ``rows`` flights with their join keys and the moment of prediction (aware, UTC)."""
    rng = np.random.default_rng(rows)
    frame = pd.DataFrame({k: rng.choice(pool, rows) for k, pool in _POOLS.items()})
    frame["flight"] = np.arange(rows)
    frame["event_timestamp"] = _moments(rng, rows)
    return frame


def write(folder: Path, *, backfilled: float = 0.0) -> None:
    """Write the six Parquet files (microseconds, UTC) that both stores read."""
    folder.mkdir(parents=True, exist_ok=True)
    for view in VIEWS:
        table = pa.Table.from_pandas(feature_rows(view, backfilled=backfilled), preserve_index=False)
        pq.write_table(table, folder / f"{view.name}.parquet")


def feature_store(folder: Path, offline: dict[str, Any], *, ttl: bool = False) -> FeatureStore:
    """Open a Feast store over the files of :func:`write` with the given offline store.

    Without ``ttl`` a value counts until the next one, which is Feast's own default.
    """
    name = str(offline["type"]).rpartition(".")[2].lower()
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(folder / f"{name}.db"),
            offline_store=offline,
            online_store={"type": "sqlite", "path": str(folder / f"{name}-online.db")},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )
    entities = {k: Entity(name=k, join_keys=[k], value_type=ValueType.STRING) for k in _POOLS}
    views = [
        FeatureView(
            name=v.name,
            entities=[entities[k] for k in v.keys],
            schema=[Field(name=f, dtype=t) for f, t in v.features.items()],
            source=FileSource(
                name=v.name,
                path=str(folder / f"{v.name}.parquet"),
                timestamp_field="event_timestamp",
                created_timestamp_column="created_timestamp",
            ),
            ttl=v.ttl if ttl else timedelta(0),
        )
        for v in VIEWS
    ]
    store.apply([*entities.values(), *views])
    return store


def references() -> list[str]:
    """Return the feature references of all six views."""
    return [f"{v.name}:{f}" for v in VIEWS for f in v.features]
