"""Runs point-in-time retrievals: one ASOF join a feature view, the columns set side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import OnDemandFeatureView
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage
from feast.type_map import feast_value_type_to_pa

from core.errors import DataError
from core.files import atomic_path
from stores.asof import FeatureTable, asof_join, empty_features
from stores.entities import EntityRows, join_keys
from stores.sources import as_utc, file_source, location, parquet_files, relation
from stores.sql import cursor

if TYPE_CHECKING:
    import duckdb
    from feast import FeatureView


def join_views(
    con: duckdb.DuckDBPyConnection,
    rows: EntityRows,
    views: Sequence[FeatureView],
    feature_refs: Sequence[str],
    *,
    repo_path: Path | str | None,
    full_feature_names: bool,
    honour_created: bool,
) -> pa.Table:
    """Return the entity rows with the features of every view beside them, rows and their order kept."""
    taken = list(rows.table.column_names)
    wanted = [_features(view, feature_refs, full_feature_names) for view in views]
    for view, features in zip(views, wanted, strict=True):
        _check_columns(view, rows, features, taken)
        taken += features.values()

    def join(view: FeatureView, features: dict[str, str]) -> pa.Table:
        with cursor(con) as own:
            return _join(own, rows, view, features, repo_path, honour_created)

    # One view's join hardly keeps two cores busy: sorts of few keys and small files run on one.
    [(threads,)] = con.sql("SELECT current_setting('threads')").fetchall()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        parts = list(pool.map(join, views, wanted))
    columns = [column for table in (rows.table, *parts) for column in table.columns]
    return pa.table(columns, names=taken)


def _features(view: FeatureView, refs: Sequence[str], full: bool) -> dict[str, str]:
    """Return the requested features of a view: column -> name in the result."""
    prefix = view.projection.name_to_use() + ":"
    base = view.projection.name_alias or view.name
    wanted = [ref.removeprefix(prefix) for ref in refs if ref.startswith(prefix)]
    return {name: f"{base}__{name}" if full else name for name in wanted}


def _check_columns(view: FeatureView, rows: EntityRows, features: dict[str, str], taken: list[str]) -> None:
    missing = [key for key in join_keys(view).values() if key not in rows.table.column_names]
    if missing:
        raise DataError(
            f"The entity rows have no column {', '.join(missing)}, which {view.name} is joined by.",
            hint=f"They have: {', '.join(rows.table.column_names)}.",
        )
    twice = [name for name in features.values() if name in taken]
    if twice:
        raise DataError(
            f"The entity rows already have a column {', '.join(twice)}, which is a feature of {view.name}.",
            hint="Rename it, or ask for full_feature_names.",
        )


def _join(
    con: duckdb.DuckDBPyConnection,
    rows: EntityRows,
    view: FeatureView,
    features: dict[str, str],
    repo_path: Path | str | None,
    honour_created: bool,
) -> pa.Table:
    source = file_source(view.batch_source, view.name)
    sql, types = relation(con, source, repo_path)
    if sql is None or rows.table.num_rows == 0:
        declared = {field.name: feast_value_type_to_pa(field.dtype.to_value_type()) for field in view.features}
        return empty_features(list(features.values()), [declared[c] for c in features], rows.table.num_rows)
    created = source.created_timestamp_column or None
    needed = [*join_keys(view), *features, source.timestamp_field, *([created] if created else [])]
    missing = [c for c in needed if c not in types]
    if missing:
        raise DataError(
            f"{view.name}: {location(source, repo_path)} has no column {', '.join(missing)}.",
            hint="Compare the feature view's schema with its SQL.",
        )
    table = FeatureTable(
        sql=sql,
        keys=join_keys(view),
        features=features,
        timestamp=as_utc(source.timestamp_field, types[source.timestamp_field]),
        created=as_utc(created, types[created]) if created else None,
        ttl=view.ttl or None,
        version=_version(parquet_files(source, repo_path)),
    )
    return asof_join(con, rows.table, rows.timestamp, table, honour_created=honour_created)


def _version(files: Sequence[str]) -> tuple[object, ...] | None:
    """Return what changes when local files do; None where that cannot be told cheaply."""
    if any("://" in file for file in files):
        return None
    return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in map(os.stat, files))


class DuckDBRetrievalJob(RetrievalJob):
    """A retrieval that runs when its result is asked for.

    Parameters
    ----------
    run : callable
        Gives the result as an Arrow table, on-demand views left out (the base class adds them).
    repo_path : path
        What relative paths of saved datasets are relative to.
    """

    def __init__(
        self,
        run: Callable[[], pa.Table],
        repo_path: Path | str | None,
        on_demand_feature_views: Sequence[OnDemandFeatureView] = (),
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        super().__init__()
        self._run = run
        self._repo_path = repo_path
        self._on_demand = list(on_demand_feature_views)
        self._full_feature_names = full_feature_names
        self._metadata = metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._run()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._run().to_pandas()

    @property
    def full_feature_names(self) -> bool:
        """Whether features are named ``<view>__<feature>``."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The on-demand views to run on the result."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for."""
        return self._metadata

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the result, on-demand features included, as one Parquet file, whole or not at all.

        Raises
        ------
        SavedDatasetLocationAlreadyExists
            When something is there and ``allow_overwrite`` is not set.
        """
        path = Path(location(file_source(storage.to_data_source(), "saved dataset"), self._repo_path))
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        table: Any = self.to_arrow(timeout=timeout)
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, coerce_timestamps="us", allow_truncated_timestamps=True)
