"""Reads what the online store is filled with: the latest row of each key in a view's feature files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import pyarrow as pa
from feast.value_type import ValueType

from stores.entities import DUMMY_KEY
from stores.plan import key_types
from stores.sources import as_utc
from stores.sql import moment, quote, text

if TYPE_CHECKING:
    from feast import FeatureView

_BATCH_ROWS = 20_000
_KEY_SQL = {
    ValueType.STRING: "VARCHAR",
    ValueType.BYTES: "BLOB",
    ValueType.INT32: "INTEGER",
    ValueType.INT64: "BIGINT",
    ValueType.UNIX_TIMESTAMP: "TIMESTAMPTZ",
}


class FileCount(NamedTuple):
    """How many rows a file has, how many of them are of a time to come, or lack a key or a time."""

    path: str
    rows: int
    future: int
    unusable: int


class FeatureRows:
    """The rows of some feature files of one view.

    Parameters
    ----------
    con : duckdb connection
        In UTC.
    view : FeatureView
        Says which columns are keys, features and times.
    paths : sequence of str
        Parquet files; of two rows equal in key and both times, the one of the later name counts.
    now : datetime
        Timezone-aware; rows with a later event time do not exist yet.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, view: FeatureView, paths: Sequence[str], now: datetime) -> None:
        self._con, self._now = con, now
        source = view.batch_source
        reader = f"read_parquet([{', '.join(map(text, paths))}], union_by_name = true, filename = true, " + (
            "file_row_number = true)"
        )
        kinds = {name: str(kind) for name, kind, *_ in con.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()}
        original = {mapped: name for name, mapped in (source.field_mapping or {}).items()}

        def column(name: str) -> str:
            return original.get(name, name)

        stamp = column(source.timestamp_field)
        created = column(source.created_timestamp_column or source.timestamp_field)
        keys = [
            (f"CAST({quote(column(name))} AS {_KEY_SQL[kind]})" if name != DUMMY_KEY else "''")
            for name, kind in sorted(key_types(view))
        ]
        self._key_count = len(keys)
        features = [quote(column(feature.name)) for feature in view.features]
        picked = [f"{sql} AS k{i}" for i, sql in enumerate(keys)] + [f"{sql} AS f{i}" for i, sql in enumerate(features)]
        self._rows = (
            f"SELECT {', '.join(picked)}, filename AS file, file_row_number AS position, "
            f"{as_utc(stamp, kinds.get(stamp, ''))} AS stamp, "
            f"coalesce({as_utc(created, kinds.get(created, ''))}, {as_utc(stamp, kinds.get(stamp, ''))}) AS created "
            f"FROM {reader}"
        )

    def count(self) -> list[FileCount]:
        """Count the rows of each file."""
        usable = " AND ".join([*(f"k{i} IS NOT NULL" for i in range(self._key_count)), "stamp IS NOT NULL"])
        counts = self._con.execute(
            f"SELECT file, count(*), count(*) FILTER (stamp > {moment(self._now)}), count(*) FILTER (NOT ({usable})) "
            f"FROM ({self._rows}) GROUP BY file"
        ).fetchall()
        return [FileCount(*row) for row in counts]

    def latest(self) -> pa.RecordBatchReader:
        """Return the latest row of each key: keys, features, and both times in microseconds since 1970."""
        keys = ", ".join(f"k{i}" for i in range(self._key_count))
        usable = " AND ".join(f"k{i} IS NOT NULL" for i in range(self._key_count))
        return self._con.sql(
            "SELECT * EXCLUDE (file, position, stamp, created), epoch_us(stamp) AS stamp, epoch_us(created) AS created "
            f"FROM ({self._rows}) WHERE {usable} AND stamp <= {moment(self._now)} "
            f"QUALIFY row_number() OVER (PARTITION BY {keys} "
            "ORDER BY stamp DESC, created DESC, file DESC, position DESC) = 1"
        ).to_arrow_reader(_BATCH_ROWS)
