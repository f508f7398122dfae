"""A bounded look at the rows of any layer: what came in, what passed, what did not, and what became features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.errors import InvalidRequest
from ingestion.relation import Relation, opened
from stores.sql import text

if TYPE_CHECKING:
    from pathlib import Path

    from core.client import Layer
    from core.repo import FeatureRepo

MAX_ROWS = 1000


def preview(
    repo: FeatureRepo,
    table: str,
    layer: Layer = "raw",
    *,
    limit: int = 50,
    columns: list[str] | None = None,
    where: Sequence[str] = (),
    sort: str | None = None,
    descending: bool = False,
) -> dict[str, Any]:
    """Return rows of one table of one layer, those of the newest windows first unless they are sorted.

    Parameters
    ----------
    repo : FeatureRepo
        Whose data.
    table : str
        A table of ``source.py``, or a feature view for ``features``.
    layer : str
        ``raw``, ``valid``, ``quarantine`` (with its ``reason``) or ``features``.
    limit : int
        At most so many rows, 1 to 1000.
    columns : list of str, optional
        Only these.
    where : sequence of str
        Conditions as :mod:`core.conditions` writes them, on the rows of all windows; all must be fulfilled.
    sort : str, optional
        The column to sort by, what is missing last.
    descending : bool
        Whether the largest comes first.

    Returns
    -------
    dict
        ``table``, ``layer``, ``columns`` (name to type), ``total`` rows of all windows that fulfil the conditions,
        ``rows``.

    Raises
    ------
    NotFound
        When there is no such table in that layer, or no row of it yet.
    InvalidRequest
        When a column is none of its columns, a condition does not fit, or the limit is out of bounds.
    PunctualError
        As :func:`ingestion.relation.opened`.
    """
    if not 1 <= limit <= MAX_ROWS:
        raise InvalidRequest(f"limit is {limit}, and must be 1 to {MAX_ROWS}.")
    with opened(repo, table, layer, where) as relation:
        wanted = columns or list(relation.types)
        names = ", ".join(map(relation.column, wanted))
        by = f"{relation.column(sort)} {'DESC' if descending else 'ASC'} NULLS LAST, " if sort is not None else ""
        files = _newest(relation, limit) if not where and not by else relation.files
        order = f"ORDER BY {by}filename DESC, file_row_number LIMIT {limit}"
        rows = relation.fetch(names, order, files=files)
        [[total]] = relation.fetch("count(*)")
    return {
        "table": table,
        "layer": layer,
        "columns": {name: relation.types[name] for name in wanted},
        "total": total,
        "rows": [dict(zip(wanted, row, strict=True)) for row in rows],
    }


def _newest(relation: Relation, limit: int) -> list[Path]:
    """Return as many of the newest files as it takes to fill the limit: old ones need not be read."""
    chosen: list[Path] = []
    rows = 0
    for path in relation.files:
        chosen.append(path)
        [[found]] = relation.con.execute(f"SELECT sum(num_rows) FROM parquet_file_metadata({text(path)})").fetchall()
        rows += int(found or 0)
        if rows >= limit:
            break
    return chosen
