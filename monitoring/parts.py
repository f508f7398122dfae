"""Which parts of the prediction log hold a window of the problem's clock.

The log's folders go by the machine's day, windows by ``predicted_at``. A part never changes once it is there, so what
its footer says is read once and kept in a small index beside what monitoring finds. A merged part stands for others
(:mod:`monitoring.tidy`): while both are there, it counts and they do not.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
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
    [
        ("name", pa.string()),
        ("first", _TIME),
        ("last", _TIME),
        ("rows", pa.int64()),
        ("version", pa.string()),
        ("served", _TIME),
        ("what_if", pa.int64()),
        ("actors", pa.list_(pa.string())),
        ("replaces", pa.list_(pa.string())),
    ]
)
_MOST_ACTORS = 50  # that are kept of a part
# What parts of before these columns were there have in their place.
_OLD = "CAST(NULL AS VARCHAR) AS actor, false AS what_if"


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
    served : datetime
        When the last of them was served, on the machine's clock.
    what_if : int or None
        How many of them were tried out only; None where the part is older than that column.
    actors : tuple of str or None
        Who asked, as far as it is known; None where they are too many to keep.
    """

    name: str
    first: datetime
    last: datetime
    rows: int
    version: str | None
    served: datetime
    what_if: int | None
    actors: tuple[str, ...] | None

    @property
    def counted(self) -> int:
        """Predictions that count: those that were not tried out only."""
        return self.rows - (self.what_if or 0)


def parts(layout: Layout, since: datetime | None = None, until: datetime | None = None) -> list[Part]:
    """Return the parts that may hold predictions of ``[since, until)``, in the order of their names."""
    rows = _index(layout)
    held = {name for row in rows for name in row["replaces"]}
    return [
        Part(
            **{name: value for name, value in row.items() if name not in ("actors", "replaces")},
            actors=None if row["actors"] is None else tuple(row["actors"]),
        )
        for row in rows
        if row["name"] not in held
        and (since is None or row["last"] >= as_utc(since))
        and (until is None or row["first"] < as_utc(until))
    ]


def replaced(layout: Layout) -> dict[str, str]:
    """Return the parts whose rows a merged part holds too, each with that part's name."""
    rows = _index(layout)
    there = {row["name"] for row in rows}
    return {name: row["name"] for row in rows for name in row["replaces"] if name in there}


def counting(layout: Layout, since: datetime | None = None, until: datetime | None = None) -> list[Part]:
    """Return those of :func:`parts` with predictions that count: a part of nothing but what-ifs is left out."""
    return [part for part in parts(layout, since, until) if part.counted]


def relation(layout: Layout, chosen: Iterable[Part]) -> str:
    """Return SQL that reads the rows of some parts, at least one, that count: a what-if does not."""
    return f"(SELECT * FROM {everything(layout, chosen)} WHERE what_if IS NOT TRUE)"


def everything(layout: Layout, chosen: Iterable[Part]) -> str:
    """Return SQL that reads all rows of some parts, at least one, what-ifs too."""
    old: list[str] = []
    new: list[str] = []
    for part in chosen:
        (old if part.what_if is None else new).append(text(layout.predictions / part.name))
    reads = [f"SELECT *, {_OLD} FROM read_parquet([{', '.join(old)}])"] if old else []
    reads += [f"SELECT * FROM read_parquet([{', '.join(new)}])"] if new else []
    return f"({' UNION ALL BY NAME '.join(reads)})"


def _index(layout: Layout) -> list[dict[str, Any]]:
    """Return what there is to know of every part that is there, by name."""
    path = layout.monitoring / "parts.parquet"
    with locked(layout.monitoring / "parts.lock"):
        known = _known(path)
        names = sorted(_names(layout.predictions))
        rows = [known.get(name) or _describe(layout.predictions / name, name) for name in names]
        if names != list(known):
            with atomic_path(path) as temporary:
                pq.write_table(pa.Table.from_pylist(rows, schema=_INDEX), temporary, compression="zstd")
    return rows


def _known(path: Path) -> dict[str, dict[str, Any]]:
    """Return what the index says of each part; an index of before a column of it was there says nothing."""
    if not path.is_file() or not pq.read_schema(path).equals(_INDEX):
        return {}
    return {row["name"]: row for row in pq.read_table(path).to_pylist()}


def _names(folder: Path) -> Iterator[str]:
    for day in os.scandir(folder) if folder.is_dir() else ():
        if day.is_dir() and not day.name.startswith("."):
            for file in os.scandir(day.path):
                if file.name.endswith(".parquet") and not file.name.startswith("."):
                    yield f"{day.name}/{file.name}"


def _describe(path: Path, name: str) -> dict[str, Any]:
    file = pq.ParquetFile(path)
    first, last = _bounds(file.metadata, "predicted_at")
    versions = set(_bounds(file.metadata, "model_version"))
    what_if, actors = _asked(file)
    return {
        "name": name,
        "first": first,
        "last": last,
        "rows": file.metadata.num_rows,
        "version": versions.pop() if len(versions) == 1 else None,
        "served": _bounds(file.metadata, "served_at")[1],
        "what_if": what_if,
        "actors": actors,
        "replaces": (file.metadata.metadata or {}).get(b"replaces", b"").decode().split(),
    }


def _asked(file: pq.ParquetFile) -> tuple[int | None, list[str] | None]:
    """Return how many rows are what-ifs, and who asked."""
    if "what_if" not in file.schema_arrow.names:
        return None, []
    asked = file.read(["what_if", "actor"])
    actors = sorted(actor for actor in pc.unique(asked.column("actor")).to_pylist() if actor is not None)
    return pc.sum(asked.column("what_if")).as_py() or 0, actors if len(actors) <= _MOST_ACTORS else None


def _bounds(footer: pq.FileMetaData, column: str) -> tuple[Any, Any]:
    """Return the least and the greatest value of a column that is never null."""
    place = footer.schema.names.index(column)
    found = [footer.row_group(i).column(place).statistics for i in range(footer.num_row_groups)]
    return min(one.min for one in found), max(one.max for one in found)
