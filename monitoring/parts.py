"""Which parts of the prediction log hold a window of the problem's clock.

The log's folders go by the machine's day, windows by ``predicted_at``. A part never changes once it is there, so what
its footer says is read once and kept in a small index beside what monitoring finds.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from core.files import atomic_path, locked
from core.windows import as_utc
from stores.sql import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from core.layout import Layout

_TIME = pa.timestamp("us", tz="UTC")
_INDEX = pa.schema(
    [("name", pa.string()), ("first", _TIME), ("last", _TIME), ("rows", pa.int64()), ("version", pa.string())]
)


class Part(NamedTuple):
    """One part of the log.

    Attributes
    ----------
    name : str
        ``<machine day>/<file>``.
    first, last : datetime
        Bounds of ``predicted_at``, both inclusive.
    rows : int
        Predictions in it.
    version : str or None
        The model version of all of them; None where several took turns.
    """

    name: str
    first: datetime
    last: datetime
    rows: int
    version: str | None


def parts(layout: Layout, since: datetime | None = None, until: datetime | None = None) -> list[Part]:
    """Return the parts that may hold predictions of ``[since, until)``, in the order of their names."""
    path = layout.monitoring / "parts.parquet"
    with locked(layout.monitoring / "parts.lock"):
        known = {row["name"]: row for row in pq.read_table(path).to_pylist()} if path.is_file() else {}
        names = sorted(_names(layout.predictions))
        rows = [known.get(name) or _describe(layout.predictions / name, name) for name in names]
        if names != list(known):
            with atomic_path(path) as temporary:
                pq.write_table(pa.Table.from_pylist(rows, schema=_INDEX), temporary, compression="zstd")
    return [
        Part(**row)
        for row in rows
        if (since is None or row["last"] >= as_utc(since)) and (until is None or row["first"] < as_utc(until))
    ]


def relation(layout: Layout, chosen: Iterable[Part]) -> str:
    """Return SQL that reads the rows of some parts, at least one."""
    return f"read_parquet([{', '.join(text(layout.predictions / part.name) for part in chosen)}])"


def _names(folder: Path) -> Iterator[str]:
    for day in os.scandir(folder) if folder.is_dir() else ():
        if day.is_dir() and not day.name.startswith("."):
            for file in os.scandir(day.path):
                if file.name.endswith(".parquet") and not file.name.startswith("."):
                    yield f"{day.name}/{file.name}"


def _describe(path: Path, name: str) -> dict[str, Any]:
    footer = pq.read_metadata(path)
    at, version = (footer.schema.names.index(column) for column in ("predicted_at", "model_version"))
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    moments = [group.column(at).statistics for group in groups]
    versions = {bound for group in groups for bound in _bounds(group.column(version).statistics)}
    return {
        "name": name,
        "first": min(moment.min for moment in moments),
        "last": max(moment.max for moment in moments),
        "rows": footer.num_rows,
        "version": versions.pop() if len(versions) == 1 else None,
    }


def _bounds(statistics: Any) -> tuple[Any, Any]:
    return statistics.min, statistics.max
