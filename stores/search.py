"""The point-in-time join for few entity rows: search in what is in order instead of sorting it.

An ASOF join sorts every feature row of the keys it is asked for, also for a single entity row. Feature files are
written in the order of time, or of keys and time, so the rows of one key stand in order already: grouping them (a
radix sort of small numbers) and one binary search an entity row give the same answer. Files in no order are sorted
first; where there are ties or late rows, :mod:`stores.asof` joins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from stores.sql import quote

if TYPE_CHECKING:
    from datetime import timedelta

    import duckdb

# A group's number must fit 16 bits: numpy sorts those by radix.
MOST_ROWS = 50_000


def search_join(
    con: duckdb.DuckDBPyConnection,
    entities: pa.Table,
    timestamp: str,
    source: str,
    keys: dict[str, str],
    features: dict[str, str],
    ttl: timedelta | None,
) -> pa.Table:
    """Join the rows of ``source`` to at most 50,000 entity rows.

    Parameters
    ----------
    con : duckdb connection
        Matches the keys, by DuckDB's own rules of comparison.
    entities : pyarrow.Table, n rows
        Columns of the join keys and ``timestamp`` (timezone-aware UTC microseconds).
    source : str
        A ``SELECT`` of join keys, features and ``__ts``; no two rows share keys and ``__ts``.
    keys, features : dict of str to str
        Column of the feature rows -> column of the entity rows; feature -> name in the result.
    ttl : timedelta or None
        How long a value counts, inclusive.

    Returns
    -------
    pyarrow.Table, n rows
        The features, in the order of the entity rows; null where nothing was known.
    """
    group, distinct = _groups(entities, list(keys.values()))
    con.register("__keys", distinct)
    try:
        on = " AND ".join(f"r.{quote(ours)} = k.{quote(theirs)}" for ours, theirs in keys.items())
        picked = ", ".join(["k.__group", "epoch_us(r.__ts) AS __us", *(f"r.{quote(name)}" for name in features)])
        rows = con.sql(f"SELECT {picked} FROM ({source}) AS r JOIN __keys AS k ON {on}").to_arrow_table()
    finally:
        con.unregister("__keys")
    asked = entities.column(timestamp).cast(pa.int64()).to_numpy()
    found = _search(rows.column("__group").to_numpy(), rows.column("__us").to_numpy(), group, asked, ttl)
    return rows.select(list(features)).take(found).rename_columns(list(features.values()))


def _groups(entities: pa.Table, keys: Sequence[str]) -> tuple[np.ndarray, pa.Table]:
    """Number the distinct keys of the entity rows: each row's number, 0 for a null key, and the keys by number."""
    count = entities.num_rows
    present, number = np.ones(count, dtype=bool), np.zeros(count, dtype=np.int64)
    for key in keys:
        codes = entities.column(key).combine_chunks().dictionary_encode()
        present &= codes.is_valid().to_numpy(zero_copy_only=False)
        number = number * (len(codes.dictionary) + 1) + codes.indices.fill_null(0).to_numpy()
        number = np.unique(number, return_inverse=True)[1]  # small again before the next key multiplies it
    places = np.flatnonzero(present)
    _, first, inverse = np.unique(number[places], return_index=True, return_inverse=True)
    group = np.zeros(count, dtype=np.uint16)
    group[places] = inverse + 1
    distinct = entities.select(list(keys)).take(pa.array(places[first]))
    return group, distinct.append_column("__group", pa.array(np.arange(1, len(first) + 1), pa.uint16()))


def _search(
    groups: np.ndarray, moments: np.ndarray, asked_groups: np.ndarray, asked: np.ndarray, ttl: timedelta | None
) -> pa.Array:
    """Return for each entity row the position of the newest feature row of its group by its moment, or null."""
    order = np.argsort(groups, kind="stable")
    groups, moments = groups[order], moments[order]
    if len(order) and np.any((moments[1:] < moments[:-1]) & (groups[1:] == groups[:-1])):
        in_time = np.lexsort((moments, groups))
        order, groups, moments = order[in_time], groups[in_time], moments[in_time]
    starts, ends = (np.searchsorted(groups, np.arange(asked_groups.max(initial=0) + 1), s) for s in ("left", "right"))
    by_group = np.argsort(asked_groups, kind="stable")
    place = np.full(len(asked), -1, dtype=np.int64)
    for rows in np.split(by_group, np.flatnonzero(np.diff(asked_groups[by_group])) + 1):
        start, end = starts[asked_groups[rows[:1]]], ends[asked_groups[rows[:1]]]
        if len(rows) and start < end:
            newest = start + moments[start[0] : end[0]].searchsorted(asked[rows], "right") - 1
            place[rows] = np.where(newest >= start, newest, -1)
    known = (place >= 0) & (asked_groups > 0)
    if ttl and len(moments):
        known &= moments[np.maximum(place, 0)] + ttl.total_seconds() * 1_000_000 >= asked
    found = order[np.maximum(place, 0)] if len(order) else np.zeros(len(asked), dtype=np.int64)
    return pa.array(found, mask=~known)
