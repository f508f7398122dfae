"""The rows that features are asked for: a frame, a query, or a range of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import DataError
from core.windows import as_utc as aware
from stores.sources import as_utc, file_source, relation
from stores.sql import moment, quote

if TYPE_CHECKING:
    from feast import FeatureView

EVENT_TIMESTAMP = "event_timestamp"
DUMMY_KEY = "__dummy_id"  # what Feast joins views without entities by
_UTC_MICROS = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class EntityRows:
    """Entity rows ready to join.

    Attributes
    ----------
    table : pyarrow.Table
        The rows as given, with the time column as UTC microseconds.
    timestamp : str
        The name of the time column.
    """

    table: pa.Table
    timestamp: str

    @property
    def earliest(self) -> datetime | None:
        """The first moment asked for, UTC."""
        return pc.min(self.table.column(self.timestamp)).as_py() if self.table.num_rows else None

    @property
    def latest(self) -> datetime | None:
        """The last moment asked for, UTC."""
        return pc.max(self.table.column(self.timestamp)).as_py() if self.table.num_rows else None


def join_keys(view: FeatureView) -> dict[str, str]:
    """Return a view's join keys: column of the feature rows -> column of the entity rows (aliases applied)."""
    renamed = view.projection.join_key_map or {}
    return {c.name: renamed.get(c.name, c.name) for c in view.entity_columns if c.name != DUMMY_KEY}


def query_rows(con: duckdb.DuckDBPyConnection, sql: str) -> EntityRows:
    """Read entity rows from a query.

    Raises
    ------
    DataError
        When DuckDB cannot run it, or its rows cannot be used.
    """
    try:
        table = con.sql(sql).to_arrow_table()
    except duckdb.Error as error:
        raise DataError(f"The entity query cannot be run: {str(error).splitlines()[0]}") from error
    return entity_rows(table)


def entity_rows(given: pd.DataFrame | pa.Table) -> EntityRows:
    """Read entity rows from a frame.

    Raises
    ------
    DataError
        When there is no single time column, or a column mixes types.
    """
    try:
        table = given if isinstance(given, pa.Table) else pa.Table.from_pandas(given, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"The entity rows cannot be read: {error}.", hint="Give each column one type.") from error
    timestamp = _timestamp_column(table)
    moments = _to_utc(table.column(timestamp), timestamp)
    position = table.column_names.index(timestamp)
    return EntityRows(table.set_column(position, timestamp, moments).replace_schema_metadata(), timestamp)


def key_range(
    con: duckdb.DuckDBPyConnection,
    views: Sequence[FeatureView],
    repo_path: Path | str | None,
    start: datetime | None,
    end: datetime | None,
) -> EntityRows:
    """Return every key that any view saw in ``[start, end]``, as of ``end``.

    Without ``start``, the longest ttl of the views before ``end`` counts, or 30 days where none has one.

    Raises
    ------
    DataError
        When the views are not keyed alike: then there is no one list of keys.
    """
    if end is None:
        raise DataError("A range needs an end_date.", hint="Pass end_date, or entity rows.")
    end = aware(end)
    ttls = [view.ttl for view in views if view.ttl]
    start = aware(start) if start else end - (max(ttls) if ttls else timedelta(days=30))
    keyed = {tuple(sorted(join_keys(view).values())) for view in views}
    if len(keyed) != 1:
        raise DataError(
            f"The views have different join keys: {sorted(keyed)}.",
            hint="Pass entity rows instead of a range.",
        )
    parts = []
    for view in views:
        source = file_source(view.batch_source, view.name)
        sql, types = relation(con, source, repo_path)
        if sql is None:
            continue
        when = as_utc(source.timestamp_field, types[source.timestamp_field])
        picked = ", ".join(f"{quote(ours)} AS {quote(name)}" for ours, name in sorted(join_keys(view).items()))
        parts.append(f"SELECT DISTINCT {picked} FROM ({sql}) WHERE {when} BETWEEN {moment(start)} AND {moment(end)}")
    if not parts:
        columns = {name: pa.nulls(0, pa.string()) for name in next(iter(keyed))}
        return EntityRows(pa.table({**columns, EVENT_TIMESTAMP: pa.nulls(0, _UTC_MICROS)}), EVENT_TIMESTAMP)
    rows = con.sql(f"SELECT *, {moment(end)} AS {EVENT_TIMESTAMP} FROM ({' UNION '.join(parts)}) ORDER BY ALL")
    return EntityRows(rows.to_arrow_table(), EVENT_TIMESTAMP)


def _timestamp_column(table: pa.Table) -> str:
    if EVENT_TIMESTAMP in table.column_names:
        return EVENT_TIMESTAMP
    times = [f.name for f in table.schema if pa.types.is_timestamp(f.type)]
    if len(times) != 1:
        raise DataError(
            f"The entity rows need one time column, and have {times or 'none'}.",
            hint=f"Name the moment of each row {EVENT_TIMESTAMP}.",
        )
    return times[0]


def _to_utc(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    try:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = pa.chunked_array([pa.array(pd.to_datetime(column.to_pandas(), utc=True, format="ISO8601"))])
        if column.type.tz is None:
            return column.cast(pa.timestamp("us"), safe=False).cast(_UTC_MICROS)
        return column.cast(_UTC_MICROS, safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, AttributeError, ValueError) as error:
        raise DataError(f"Column {name} of the entity rows holds no times: {error}.") from error
