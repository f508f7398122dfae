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

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import DataError
from stores.search import MOST_ROWS, search_join
from stores.sql import moment, quote

# Views whose facts a long-lived process remembers.
_REMEMBERED = 1_000


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
    version : tuple, optional
        Changes whenever the rows may have; None: always.
    """

    sql: str
    keys: Mapping[str, str]
    features: Mapping[str, str]
    timestamp: str
    created: str | None = None
    ttl: timedelta | None = None
    version: tuple[object, ...] | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What :func:`_facts` depend on."""
        return (self.version, self.sql, self.timestamp, self.created, *self.keys)


# Facts of files seen before, by their version: the same files are asked again and again.
_seen: dict[tuple[object, ...], tuple[bool, bool]] = {}


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

    Raises
    ------
    DataError
        When the keys of both sides cannot be compared.
    """
    names = list(dict.fromkeys([*table.keys.values(), timestamp]))
    rows = entities.select(names).append_column("__row", pa.array(np.arange(entities.num_rows)))
    con.register("__entities", rows)
    try:
        late, tied = _facts(con, table)
        if rows.num_rows < MOST_ROWS and table.keys and not tied and not (late and honour_created):
            source = _rows_sql(table, rows, timestamp, matched=False)
            return search_join(con, rows, timestamp, source, dict(table.keys), dict(table.features), table.ttl)
        if tied or (late and honour_created):
            source = _known_sql(_rows_sql(table, rows, timestamp, in_order=True), table, honour_created)
        else:
            source = _rows_sql(table, rows, timestamp)
        return _in_order(con.sql(_join_sql(source, table, timestamp)).to_arrow_table())
    except (duckdb.ConversionException, duckdb.BinderException) as error:
        raise DataError(
            f"The entity rows' {', '.join(table.keys.values())} cannot be compared with "
            f"{', '.join(table.keys)} of the feature rows: {str(error).splitlines()[0]}",
            hint="Give both the same type.",
        ) from error
    finally:
        con.unregister("__entities")


def _rows_sql(
    table: FeatureTable, rows: pa.Table, timestamp: str, *, in_order: bool = False, matched: bool = True
) -> str:
    """Return a ``SELECT`` of the feature rows that can matter: keys, features, and times.

    The times are ``__ts``, ``__created`` and ``__visible``, from when on the row counts; ``in_order`` adds
    ``__order``, the place in which it was written; ``matched`` leaves out keys that no entity row has, where that pays.
    """
    columns = [*map(quote, dict.fromkeys([*table.keys, *table.features])), f"{table.timestamp} AS __ts"]
    columns += [f"{table.created or 'NULL::TIMESTAMPTZ'} AS __created", "__ts AS __visible"]
    columns += ["row_number() OVER () AS __order"] if in_order else []
    bounds = pc.min_max(rows.column(timestamp)).as_py()
    if bounds["max"] is None:
        wanted = "false"
    else:
        wanted = f"__ts <= {moment(bounds['max'])}"
        if table.ttl:
            wanted += f" AND __ts + {_interval(table.ttl)} >= {moment(bounds['min'])}"
    only = ""
    if matched and table.keys and rows.num_rows < MOST_ROWS:
        only = "SEMI JOIN __entities AS e ON " + " AND ".join(
            f"r.{quote(ours)} = e.{quote(theirs)}" for ours, theirs in table.keys.items()
        )
    return f"SELECT * FROM (SELECT {', '.join(columns)} FROM ({table.sql})) AS r {only} WHERE {wanted}"


def _facts(con: duckdb.DuckDBPyConnection, table: FeatureTable) -> tuple[bool, bool]:
    """Say whether a row was created after its event, and whether two rows share keys and event time."""
    if table.version is not None and table.identity in _seen:
        return _seen[table.identity]
    group = ", ".join([*map(quote, table.keys), "__ts"])
    created = table.created or "NULL::TIMESTAMPTZ"
    rows = f"SELECT *, {table.timestamp} AS __ts, {created} AS __created FROM ({table.sql})"
    [(late, tied)] = con.sql(
        f"SELECT bool_or(late), bool_or(n > 1) FROM "
        f"(SELECT bool_or(__created > __ts) AS late, count(*) AS n FROM ({rows}) GROUP BY {group})"
    ).fetchall()
    if table.version is not None:
        if len(_seen) >= _REMEMBERED:
            _seen.clear()
        _seen[table.identity] = bool(late), bool(tied)
    return bool(late), bool(tied)


def _known_sql(source: str, table: FeatureTable, honour_created: bool) -> str:
    """Plan ties and knowledge time: keep only the rows that become the best known one when they become visible.

    A row is visible from ``greatest(event, created)`` on. Ordered by that, a row whose event is older than one
    already visible can never win, and every other one wins until the next: one ASOF join on visibility is exact.
    Of rows that become visible together, the last event counts; of one event, the last created, then the last
    written.
    """
    visible = "greatest(__ts, coalesce(__created, __ts))" if honour_created else "__ts"
    partition = f"PARTITION BY {', '.join(map(quote, table.keys))}" if table.keys else ""
    return (
        f"SELECT * FROM (SELECT * REPLACE ({visible} AS __visible) FROM ({source})) "
        f"WINDOW known AS ({partition} ORDER BY __visible, __ts, __created NULLS FIRST, __order) "
        f"QUALIFY __ts = max(__ts) OVER (known ROWS UNBOUNDED PRECEDING) "
        f"AND __visible IS DISTINCT FROM lead(__visible) OVER known"
    )


def _join_sql(source: str, table: FeatureTable, timestamp: str) -> str:
    match = " AND ".join(
        [
            *(f"e.{quote(theirs)} = f.{quote(ours)}" for ours, theirs in table.keys.items()),
            f"e.{quote(timestamp)} >= f.__visible",
        ]
    )
    alive = f"f.__ts + {_interval(table.ttl)} >= e.{quote(timestamp)}" if table.ttl else ""
    columns = [
        f"CASE WHEN {alive} THEN f.{quote(c)} END AS {quote(name)}" if alive else f"f.{quote(c)} AS {quote(name)}"
        for c, name in table.features.items()
    ]
    picked = ", ".join(["e.__row", *columns])
    return f"SELECT {picked} FROM __entities AS e ASOF LEFT JOIN ({source}) AS f ON {match}"


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
