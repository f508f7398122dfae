"""The checked raw tables as DuckDB sees them: one view a table, the newest arrival of a key wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb

from core.errors import ConfigError
from core.files import digest_of
from core.windows import list_windows
from stores.sql import moment, quote, text

if TYPE_CHECKING:
    from core.repo import FeatureRepo, Query
    from core.windows import Window

MANIFEST = "manifest.json"  # what a raw window holds: rows and hash of each table
_TYPES = {"int64": "BIGINT", "int32": "INTEGER", "float64": "DOUBLE", "float32": "FLOAT", "bool": "BOOLEAN"}


def data_version(repo: FeatureRepo) -> str:
    """Return the version of all raw data: a content hash of every window's manifest."""
    windows = list_windows(repo.layout.raw)
    return digest_of(*((repo.layout.raw / w.id / MANIFEST).read_text(encoding="utf-8") for w in windows))


def known_at(schema: Any) -> str:
    """Return the column that says when a row of this raw table became known."""
    return str((schema.metadata or {}).get("known_at", "known_at"))


def key_of(schema: Any) -> list[str]:
    """Return the key columns of a raw table (``unique=`` of its schema); empty where it has none."""
    unique = schema.unique or []
    return [unique] if isinstance(unique, str) else list(unique)


def history_from(con: duckdb.DuckDBPyConnection, query: Query, start: datetime) -> dict[str, datetime]:
    """Return the oldest ``known_at`` of each table that rows from ``start`` on need, by the query's lookback lines.

    Raises
    ------
    ConfigError
        When a lookback is no interval.
    """
    since = {}
    for table, interval in query.lookback.items():
        try:
            found = con.execute(f"SELECT {moment(start)} - INTERVAL {text(interval)}").fetchone()
        except duckdb.Error as error:
            raise ConfigError(
                f"sql/{query.name}.sql: lookback of {table}: {interval!r} is no interval.",
                hint="Write it as in: -- lookback: arrivals 30 days",
            ) from error
        since[table] = found[0] if found else start
    return since


def columns_of(
    con: duckdb.DuckDBPyConnection,
    query: Query,
    needed: Sequence[str],
    hint: str = "docs/feature-repo.md says what it must give.",
) -> dict[str, str]:
    """Return the columns that a query gives over the registered tables, and their SQL types.

    Raises
    ------
    ConfigError
        When the query does not run, or lacks a needed column; ``hint`` says what it must give.
    """
    try:
        found = {str(name): str(kind) for name, kind, *_ in con.execute(f"DESCRIBE {query.text}").fetchall()}
    except duckdb.Error as error:
        raise ConfigError(f"sql/{query.name}.sql: {error}", hint="Mend the query.") from error
    if missing := [name for name in needed if name not in found]:
        raise ConfigError(
            f"sql/{query.name}.sql gives no column {', '.join(missing)}, only {', '.join(found)}.", hint=hint
        )
    return found


def register_raw(
    con: duckdb.DuckDBPyConnection,
    repo: FeatureRepo,
    *,
    query: Query | None = None,
    windows: list[Window] | None = None,
    history_from: Mapping[str, datetime] | None = None,
    known_before: datetime | None = None,
) -> None:
    """Create one view per raw table over the validated windows.

    Parameters
    ----------
    con : duckdb connection
        Gets a view named like each table.
    repo : FeatureRepo
        Whose ``data/valid`` to read and whose schemas to follow.
    query : Query, optional
        Only the tables that it mentions; default: all.
    windows : list of Window, optional
        The windows that have arrived; default: all that are validated.
    history_from : mapping of str to datetime, optional
        Table -> oldest ``known_at`` (inclusive, UTC) to read; tables not named are read whole.
    known_before : datetime, optional
        Cut every table here: only rows with ``known_at`` strictly before it exist.
    """
    arrived = list_windows(repo.layout.valid) if windows is None else windows
    con.execute("SET parquet_metadata_cache = true")  # a window is a file, and each statement would open all again
    for table, schema in repo.schemas.items():
        if query is not None and not query.mentions(table):
            continue
        column, key = quote(known_at(schema)), key_of(schema)
        oldest = (history_from or {}).get(table)
        # No row outlasts its window: one that ended before the history begins can be left out.
        files = arrived if oldest is None else [w for w in arrived if w.until > oldest]
        rows = f"({_select(repo, table, schema, files, oldest)})"
        if key and len(files) > 1:
            # A key that arrives again is a correction: the newest arrival counts, at its own time. So this comes
            # before anything is cut: a correction may have moved a row across the cut.
            names = ", ".join(map(quote, key))
            newest = f"row_number() OVER (PARTITION BY {names} ORDER BY __arrival DESC) = 1"
            rows = f"(SELECT * FROM {rows} QUALIFY {newest})"
        bounds = [f"{column} >= {moment(oldest)}"] if oldest is not None else []
        bounds += [f"{column} < {moment(known_before)}"] if known_before is not None else []
        where = f"WHERE {' AND '.join(bounds)}" if bounds else ""
        con.execute(f"CREATE OR REPLACE VIEW {quote(table)} AS SELECT * EXCLUDE (__arrival) FROM {rows} {where}")


def _select(repo: FeatureRepo, table: str, schema: Any, arrived: list[Window], oldest: datetime | None) -> str:
    files = [repo.layout.valid / w.id / f"{table}.parquet" for w in arrived]
    files = [f for f in files if f.is_file()]
    if files:
        names = ", ".join(map(text, files))
        # The first arrival corrects nothing, so what lies before the history can be left out of it at once. It is
        # mostly the largest by far.
        first = f"WHERE filename <> {text(files[0])} OR {quote(known_at(schema))} >= {moment(oldest)}" if oldest else ""
        return (
            f"SELECT * EXCLUDE (filename), filename AS __arrival "
            f"FROM read_parquet([{names}], union_by_name = true, filename = true) {first}"
        )
    columns = ", ".join(
        f"CAST(NULL AS {_sql_type(str(column.dtype))}) AS {quote(name)}" for name, column in schema.columns.items()
    )
    return f"SELECT {columns}, '' AS __arrival WHERE false"


def _sql_type(dtype: str) -> str:
    if dtype.startswith("datetime64"):
        return "TIMESTAMPTZ" if "," in dtype else "TIMESTAMP"
    return _TYPES.get(dtype.lower(), "VARCHAR")
