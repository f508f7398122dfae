"""Data and Feast repos for the online benchmarks: six views of six features, and one Valkey for both rivals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Bool, Float64, Int64, String

from stores.embedded import EmbeddedServer

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=40)
VIEWS = 6


def server(folder: Path) -> EmbeddedServer:
    """Return an embedded server on a free port."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return EmbeddedServer(folder / "run", "127.0.0.1", port)


def rows(view: int, count: int) -> pd.DataFrame:
    """Return feature rows of one view: one a key, a tenth of the values missing."""
    rng = np.random.default_rng(view)
    whole = pd.array(rng.integers(0, 5000, count), dtype="Int64")
    whole[rng.random(count) < 0.1] = pd.NA
    return pd.DataFrame(
        {
            f"key{view}": np.arange(count).astype("int64"),
            f"mean_{view}": np.where(rng.random(count) < 0.1, np.nan, rng.normal(10, 5, count)),
            f"share_{view}": rng.random(count),
            f"count_{view}": whole,
            f"last_{view}": rng.integers(-120, 900, count),
            f"maker_{view}": rng.choice(["BOEING", "AIRBUS", "EMBRAER", "BOMBARDIER"], count),
            f"active_{view}": rng.random(count) < 0.5,
            "event_timestamp": pd.Timestamp(START)
            + pd.to_timedelta(rng.integers(0, 30 * 86_400, count), unit="s").astype("timedelta64[us]"),
        }
    )


def definitions(folder: Path, count: int, views: int = VIEWS) -> list[Any]:
    """Write the feature files and return the Feast objects that describe them."""
    kinds = {"mean": Float64, "share": Float64, "count": Int64, "last": Int64, "maker": String, "active": Bool}
    objects: list[Any] = []
    for view in range(views):
        path = folder / "features" / f"view{view}"
        path.mkdir(parents=True)
        rows(view, count).to_parquet(path / "first.parquet", coerce_timestamps="us")
        entity = Entity(name=f"entity{view}", join_keys=[f"key{view}"], value_type=ValueType.INT64)
        objects += [
            entity,
            FeatureView(
                name=f"view{view}",
                entities=[entity],
                schema=[
                    Field(name=f"key{view}", dtype=Int64),
                    *(Field(name=f"{name}_{view}", dtype=kind) for name, kind in kinds.items()),
                ],
                source=FileSource(name=f"view{view}", path=str(path), timestamp_field="event_timestamp"),
                ttl=timedelta(0),
            ),
        ]
    return objects


def open_store(folder: Path, project: str, online: str, address: str, objects: list[Any]) -> FeatureStore:
    """Open a Feast store on that online store and apply the objects."""
    (folder / project).mkdir(exist_ok=True)
    store = FeatureStore(
        config=RepoConfig(
            project=project,
            provider="local",
            registry=str(folder / project / "registry.db"),
            offline_store={"type": "file"},
            online_store={"type": online, "connection_string": address},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )
    store.apply(objects)
    return store


def features(views: int = VIEWS) -> list[str]:
    """Return references to every feature."""
    names = ("mean", "share", "count", "last", "maker", "active")
    return [f"view{view}:{name}_{view}" for view in range(views) for name in names]


def same(left: Any, right: Any) -> bool:
    """Return whether two read values are equal, missing ones included."""
    return (left is None and right is None) or (type(left) is type(right) and left == right)
