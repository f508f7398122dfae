"""The point-in-time join: for each entity row, the newest feature row that was known at its moment.

Semantics, per entity row at moment ``T`` (``tests/stores/oracle.py`` says the same in plain Python):

1. candidates are the feature rows with equal, non-null join keys and ``event_timestamp <= T``;
   with knowledge time honoured, also ``created_timestamp <= T``;
2. the one with the greatest ``(event_timestamp, created_timestamp)`` wins;
3. with a ttl, the winner counts only if ``event_timestamp + ttl >= T`` (inclusive).

DuckDB's ASOF join does step 1 and 2 by sorting and merging: rows, not pairs of rows. It takes one inequality
(a second one may raise an internal error), so knowledge time is planned before it and the ttl after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from stores.sql import quote

if TYPE_CHECKING:
    import duckdb

# Below this many entity rows it pays to read only the feature rows of their keys.
_SELECTIVE = 50_000
_FEATURES = "__features"


@dataclass(frozen=True)
class FeatureTable:
    """One feature view's part of a join.

    Attributes
    ----------
    sql : str
        A ``SELECT`` that gives join keys, features and times (``TIMESTAMPTZ``).
    keys : mapping of str to str
        Join key column of the feature table -> column of the entity rows.
    features : mapping of str to str
        Feature column -> name in the result.
    timestamp : str
        SQL of the event time.
    created : str or None
        SQL of the time at which the row was written, if the source has one.
    ttl : timedelta or None
        How long a value counts, inclusive; None or zero: for ever.
    """

    sql: str
    keys: Mapping[str, str]
    features: Mapping[str, str]
    timestamp: str
    created: str | None = None
    ttl: timedelta | None = None


def asof_join(
    con: duckdb.DuckDBPyConnection,
    entities: pa.Table,
    timestamp: str,
    table: FeatureTable,
    *,
    honour_created: bool = True,
) -> pa.Table:
    """Join one feature table to the entity rows.

    Parameters
    ----------
    con : duckdb connection
        Its memory limit bounds the join; it spills beyond.
    entities : pyarrow.Table, n rows
        Columns of the join keys and ``timestamp`` (timezone-aware UTC).
    timestamp : str
        Column of each row's moment.
    table : FeatureTable
        What to join.
    honour_created : bool
        Whether a row is invisible before its ``created`` time.

    Returns
    -------
    pyarrow.Table, n rows
        The features, in the order of the entity rows; null where nothing was known.
    """
    keys = list(table.keys.values())
    names = list(dict.fromkeys([*keys, timestamp]))
    rows = entities.select(names).append_column("__row", pa.array(np.arange(entities.num_rows)))
    con.register("__entities", rows)
    try:
        _load(con, table, rows.num_rows, timestamp)
        moment = "__ts"
        if table.created is not None and honour_created and _any(con, "__created > __ts"):
            _keep_records(con, table)
            moment = "__visible"
        elif _has_ties(con, table):
            _keep_newest_of_ties(con, table)
        return _in_order(con.sql(_join_sql(table, timestamp, moment)).to_arrow_table())
    finally:
        con.unregister("__entities")
        con.execute(f"DROP TABLE IF EXISTS {_FEATURES}")


def _load(con: duckdb.DuckDBPyConnection, table: FeatureTable, count: int, timestamp: str) -> None:
    """Read the rows that can matter, once: keys, features, times as ``__ts`` and ``__created``."""
    created = table.created or "NULL::TIMESTAMPTZ"
    columns = ", ".join(map(quote, dict.fromkeys([*table.keys, *table.features])))
    latest = f"(SELECT max({quote(timestamp)}) FROM __entities)"
    conditions = [f"__ts <= {latest}"]
    if table.ttl:
        earliest = f"(SELECT min({quote(timestamp)}) FROM __entities)"
        conditions.append(f"__ts >= {earliest} - {_interval(table.ttl)}")
    if table.keys and count < _SELECTIVE:
        ours, theirs = (", ".join(map(quote, names)) for names in (table.keys, table.keys.values()))
        conditions.append(
            f"({ours}) IN (SELECT ({theirs}) FROM __entities)"
            if len(table.keys) > 1
            else f"{ours} IN (SELECT {theirs} FROM __entities)"
        )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {_FEATURES} AS SELECT * FROM "
        f"(SELECT {columns}{',' if columns else ''} {table.timestamp} AS __ts, {created} AS __created "
        f"FROM ({table.sql})) WHERE {' AND '.join(conditions)}"
    )


def _any(con: duckdb.DuckDBPyConnection, condition: str) -> bool:
    found = con.execute(f"SELECT bool_or({condition}) FROM {_FEATURES}").fetchone()
    return bool(found and found[0])


def _partition(table: FeatureTable) -> str:
    return f"PARTITION BY {', '.join(map(quote, table.keys))}" if table.keys else ""


def _has_ties(con: duckdb.DuckDBPyConnection, table: FeatureTable) -> bool:
    group = ", ".join([*map(quote, table.keys), "__ts"])
    found = con.execute(
        f"SELECT 1 FROM (SELECT {group} FROM {_FEATURES} GROUP BY {group} HAVING count(*) > 1) LIMIT 1"
    ).fetchone()
    return found is not None


def _keep_newest_of_ties(con: duckdb.DuckDBPyConnection, table: FeatureTable) -> None:
    """Of rows with the same keys and event time keep the last created; of those, the last written."""
    group = ", ".join([*map(quote, table.keys), "__ts"])
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {_FEATURES} AS SELECT * FROM {_FEATURES} QUALIFY row_number() OVER "
        f"(PARTITION BY {group} ORDER BY __created DESC NULLS LAST, rowid DESC) = 1"
    )


def _keep_records(con: duckdb.DuckDBPyConnection, table: FeatureTable) -> None:
    """Plan knowledge time: keep only the rows that become the best known one when they become visible.

    A row is visible from ``greatest(event, created)`` on. Ordered by that, a row that is older than one already
    visible can never win; of the others, the last visible one always does. So one ASOF join on visibility is exact.
    """
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {_FEATURES} AS
        SELECT * EXCLUDE (__rank, __best, __next) FROM (
            SELECT *, max(__rank) OVER (known ROWS UNBOUNDED PRECEDING) AS __best,
                   lead(__visible) OVER known AS __next
            FROM (
                SELECT *, greatest(__ts, coalesce(__created, __ts)) AS __visible,
                       row_number() OVER (
                           {_partition(table)} ORDER BY __ts, __created NULLS FIRST, rowid
                       ) AS __rank
                FROM {_FEATURES}
            )
            WINDOW known AS ({_partition(table)} ORDER BY __visible, __rank)
        )
        WHERE __rank = __best AND __visible IS DISTINCT FROM __next"""
    )


def _join_sql(table: FeatureTable, timestamp: str, moment: str) -> str:
    match = " AND ".join(
        [
            *(f"e.{quote(theirs)} = f.{quote(ours)}" for ours, theirs in table.keys.items()),
            f"e.{quote(timestamp)} >= f.{moment}",
        ]
    )
    alive = f"f.__ts + {_interval(table.ttl)} >= e.{quote(timestamp)}" if table.ttl else ""
    columns = [
        f"CASE WHEN {alive} THEN f.{quote(c)} END AS {quote(name)}" if alive else f"f.{quote(c)} AS {quote(name)}"
        for c, name in table.features.items()
    ]
    picked = ", ".join(["e.__row", *columns])
    return f"SELECT {picked} FROM __entities AS e ASOF LEFT JOIN {_FEATURES} AS f ON {match}"


def _interval(ttl: timedelta) -> str:
    return f"to_microseconds({ttl // timedelta(microseconds=1)})"


def _in_order(joined: pa.Table) -> pa.Table:
    """Bring the joined rows into the order of the entity rows: a permutation, cheaper than a sort."""
    rows = joined.column("__row").to_numpy()
    place = np.empty(len(rows), dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return joined.drop_columns(["__row"]).take(pa.array(place))


def empty_features(names: Sequence[str], types: Sequence[pa.DataType], rows: int) -> pa.Table:
    """Return ``rows`` rows of nulls: what a view gives that has no feature row yet."""
    return pa.table({n: pa.nulls(rows, t) for n, t in zip(names, types, strict=True)})
