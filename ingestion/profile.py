"""What is in the columns of a table: counted by DuckDB over all rows that fulfil the conditions, nothing estimated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from core.errors import InvalidRequest
from ingestion.relation import FLOATS, INTEGERS, Relation, opened

if TYPE_CHECKING:
    import duckdb

    from core.client import Layer
    from core.repo import FeatureRepo

MAX_COLUMNS = 100
MAX_BINS = 20
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_FREQUENT = 5
_CHARACTERS = 200  # of a text, or of a list
_WIDEST = "UBIGINT"  # the edges beside its largest numbers are no numbers of JSON


def profile(
    repo: FeatureRepo,
    table: str,
    layer: Layer = "raw",
    *,
    columns: list[str] | None = None,
    where: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what is in each column of one table of one layer.

    Parameters
    ----------
    repo, table, layer, columns, where
        As :func:`ingestion.preview.preview` takes them; 100 columns at most.

    Returns
    -------
    dict
        ``table``, ``layer``, ``rows`` that fulfil the conditions, and ``columns``, each with

        - ``column``, ``type``, ``count`` of values that are there, ``missing`` (share of the rows, 0 to 1; None
          without rows), ``distinct`` values, ``least``, ``most``;
        - for numbers ``mean``, ``quantiles`` (share to the least value that so many do not exceed), ``histogram``: up
          to 20 parts of the same width, with ``from``, ``to`` (exclusive but in the last one) and ``rows``; infinite
          ones are in none. None for what is no number;
        - ``frequent``: the five most frequent values, with ``value`` and ``rows``.

        Of long texts the first 200 characters are told; NaN counts as missing.

    Raises
    ------
    InvalidRequest
        When a column is none of its columns, or there are too many.
    PunctualError
        As :func:`ingestion.relation.opened`.
    """
    with opened(repo, table, layer, where) as relation:
        wanted = list(dict.fromkeys(columns or relation.types))
        if len(wanted) > MAX_COLUMNS:
            raise InvalidRequest(f"{table} has {len(wanted)} columns.", hint=f"Choose {MAX_COLUMNS} at most.")
        [[rows]] = relation.fetch("count(*)")
        told = [_column(relation, name, rows) for name in wanted]
    return {"table": table, "layer": layer, "rows": rows, "columns": told}


def _column(relation: Relation, name: str, rows: int) -> dict[str, Any]:
    # (By position: a column of the table may be called "value".)
    counted = relation.query(f"{relation.column(name)} AS value, count(*) AS rows", "GROUP BY 1")
    con, kind = relation.con, relation.types[name]
    con.execute(f"CREATE OR REPLACE TEMP TABLE counted AS {counted}", list(relation.given))
    [[count, distinct, least, most]] = con.execute(
        "SELECT sum(rows)::BIGINT, count(*), min(value), max(value) FROM counted WHERE value IS NOT NULL"
    ).fetchall()
    frequent = con.execute(
        f"SELECT value, rows FROM counted WHERE value IS NOT NULL ORDER BY rows DESC, value LIMIT {_FREQUENT}"
    ).fetchall()
    number = kind in (*INTEGERS, *FLOATS) or kind.startswith("DECIMAL")
    return {
        "column": name,
        "type": kind,
        "count": count or 0,
        "missing": 1 - (count or 0) / rows if rows else None,
        "distinct": distinct,
        "least": _told(least),
        "most": _told(most),
        "mean": _mean(con) if number else None,
        "quantiles": _quantiles(con, count or 0) if number else None,
        "histogram": _histogram(con, whole=kind in INTEGERS and kind != _WIDEST) if number else None,
        "frequent": [{"value": _told(value), "rows": found} for value, found in frequent],
    }


def _mean(con: duckdb.DuckDBPyConnection) -> float | None:
    # Each value's share of it, so that the sum of large ones does not overflow.
    [[mean]] = con.execute(
        "SELECT sum(value::DOUBLE * (rows / (SELECT sum(rows) FROM counted WHERE value IS NOT NULL))) FROM counted"
    ).fetchall()
    return None if mean is None else float(mean)


def _quantiles(con: duckdb.DuckDBPyConnection, count: int) -> dict[str, Any]:
    upto = "SELECT value, sum(rows) OVER (ORDER BY value) AS upto FROM counted WHERE value IS NOT NULL"
    asked = ", ".join(f"min(value) FILTER (upto >= {share} * {count})" for share in QUANTILES)
    [found] = con.execute(f"SELECT {asked} FROM ({upto})").fetchall()
    return {f"{share:g}": _told(value) for share, value in zip(QUANTILES, found, strict=True)}


def _histogram(con: duckdb.DuckDBPyConnection, *, whole: bool) -> list[dict[str, Any]]:
    """Return parts of the same width between the least and the most; of whole numbers, parts of whole width."""
    finite = "FROM counted WHERE isfinite(value::DOUBLE)"
    [[low, high]] = con.execute(f"SELECT min(value), max(value) {finite}").fetchall()
    if low is None:
        return []
    if whole:
        width = -(-(high - low + 1) // MAX_BINS)
        part, given = "(value::HUGEINT - ?::HUGEINT) // ?::HUGEINT", [low, width]
        edges = [low + i * width for i in range(-(-(high - low + 1) // width) + 1)]
    else:
        # In halves, as the distance of two numbers may be no number any more.
        low, high = float(low), float(high)
        half = (high / 2 - low / 2) / MAX_BINS
        count = MAX_BINS if half > 0 else 1
        part = f"least(floor((value::DOUBLE / 2 - ? / 2) / ?), {count - 1})"
        given = [low, half or 1.0]
        edges = [*(low + i * half + i * half for i in range(count)), high]
    found = dict(con.execute(f"SELECT ({part})::INTEGER, sum(rows)::BIGINT {finite} GROUP BY 1", given).fetchall())
    return [{"from": since, "to": until, "rows": found.get(i, 0)} for i, (since, until) in enumerate(pairwise(edges))]


def _told(value: Any) -> Any:
    """Return a value as JSON can tell it, and not at any length."""
    if isinstance(value, Decimal):
        return float(value)
    # (A date is also what datetime is.)
    return value if value is None or isinstance(value, bool | int | float | date) else str(value)[:_CHARACTERS]
