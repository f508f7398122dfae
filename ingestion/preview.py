"""A bounded look at the rows of any layer: what came in, what passed, what did not, and what became features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from core.errors import InvalidRequest, NoData, NotFound
from core.windows import list_windows
from ingestion.transform import feature_targets
from stores.sql import connect, quote, text

if TYPE_CHECKING:
    from pathlib import Path

    from core.repo import FeatureRepo

Layer = Literal["raw", "valid", "quarantine", "features"]
MAX_ROWS = 1000


def preview(
    repo: FeatureRepo, table: str, layer: Layer = "raw", *, limit: int = 50, columns: list[str] | None = None
) -> dict[str, Any]:
    """Return rows of one table of one layer, those of the newest windows first.

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

    Returns
    -------
    dict
        ``table``, ``layer``, ``columns`` (name to type), ``total`` rows of all windows, ``rows``.

    Raises
    ------
    NotFound
        When there is no such table in that layer.
    InvalidRequest
        When a column is none of its columns, or the limit is out of bounds.
    NoData
        When the layer has no rows yet.
    """
    if not 1 <= limit <= MAX_ROWS:
        raise InvalidRequest(f"limit is {limit}, and must be 1 to {MAX_ROWS}.")
    files = _files(repo, table, layer)
    if not files:
        raise NoData(f"There are no {layer} rows of {table} yet.", hint="Run the step that makes them.")
    everything = ", ".join(text(str(path)) for path in files)
    with connect() as con:
        described = con.execute(f"DESCRIBE SELECT * FROM read_parquet([{everything}], union_by_name = true)").fetchall()
        types = {str(name): str(kind) for name, kind, *_ in described}
        wanted = columns or list(types)
        unknown = [name for name in wanted if name not in types]
        if unknown:
            raise InvalidRequest(
                f"{table} has no column {unknown[0][:80]!r}.",
                hint=f"It has: {', '.join(types)}.",
                column=unknown[0][:80],
            )
        counted = con.execute(f"SELECT count(*) FROM read_parquet([{everything}], union_by_name = true)").fetchone()
        chosen = _newest(con, files, limit)
        names = ", ".join(map(quote, wanted))
        rows = con.execute(
            f"SELECT {names} FROM read_parquet([{', '.join(text(str(p)) for p in chosen)}], union_by_name = true, "
            f"filename = true) ORDER BY filename DESC LIMIT {limit}"
        ).fetchall()
    return {
        "table": table,
        "layer": layer,
        "columns": {name: types[name] for name in wanted},
        "total": int(counted[0]) if counted else 0,
        "rows": [dict(zip(wanted, row, strict=True)) for row in rows],
    }


def _files(repo: FeatureRepo, table: str, layer: Layer) -> list[Path]:
    """Return a table's files, newest window first; the name is looked up, never made into a path as it comes."""
    if layer == "features":
        targets = feature_targets(repo)
        if table not in targets:
            raise NotFound(f"There is no feature view {table[:80]!r}.", hint=f"There are: {', '.join(targets)}.")
        return sorted(targets[table].folder.glob("*.parquet"), reverse=True)
    if table not in repo.schemas:
        raise NotFound(f"There is no table {table[:80]!r}.", hint=f"There are: {', '.join(repo.schemas)}.")
    folder: Path = {"raw": repo.layout.raw, "valid": repo.layout.valid, "quarantine": repo.layout.quarantine}[layer]
    paths = [folder / window.id / f"{table}.parquet" for window in reversed(list_windows(folder))]
    return [path for path in paths if path.is_file()]


def _newest(con: Any, files: list[Path], limit: int) -> list[Path]:
    """Return as many of the newest files as it takes to fill the limit: old ones need not be opened."""
    chosen: list[Path] = []
    rows = 0
    for path in files:
        chosen.append(path)
        found = con.execute(f"SELECT sum(num_rows) FROM parquet_file_metadata({text(str(path))})").fetchone()
        rows += int(found[0] or 0) if found else 0
        if rows >= limit:
            break
    return chosen
