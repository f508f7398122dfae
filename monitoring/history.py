"""Looks back: what was predicted, for whom, and what came of it.

The log is read part by part, the newest first, and no further than it takes. A part's index says when it was served,
who asked, and how many what-ifs it holds, so parts without anything that is asked for are not opened. Of what is read
only the rows that are wanted stay in memory: up to 500 rows, and DuckDB's bounded share, however long the log is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.errors import InvalidRequest, Unavailable
from core.repo import FeatureRepo
from monitoring.logged import within
from monitoring.parts import everything, parts
from monitoring.truth_store import TruthStore
from serving.resolve import needs
from stores.registry import open_store, registry_version
from stores.sql import connect, text

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from monitoring.parts import Part

_COLUMNS = (
    *("prediction_id", "predicted_at", "served_at", "entity", "class", "probability", "model_version"),
    *("stale", "actor", "what_if"),
)
_FIRST_PARTS, _MOST_PARTS = 8, 512  # that are read at once
_MEMORY = "512MB"  # of each query
_AT_ONCE = 2  # queries
_PATIENCE_SECONDS = 5.0
_turns = threading.BoundedSemaphore(_AT_ONCE)


@dataclass(frozen=True, kw_only=True)
class Which:
    """Which predictions to look at; what is None does not matter.

    Attributes
    ----------
    since, until : datetime, optional
        Made in ``[since, until)``, timezone-aware, on the problem's clock (``predicted_at``).
    label : str, optional
        The class that was predicted.
    version : str, optional
        The model version.
    entity : str, optional
        The id of the entity, as text.
    what_if : bool, optional
        Only what-ifs, or none of them.
    actor : str, optional
        Who asked.
    """

    since: datetime | None = None
    until: datetime | None = None
    label: str | None = None
    version: str | None = None
    entity: str | None = None
    what_if: bool | None = None
    actor: str | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise InvalidRequest("until must come after since.")

    def parts(self, repo: FeatureRepo) -> list[Part]:
        """Return the parts of the log that may hold any of them."""
        return [part for part in parts(repo.layout, self.since, self.until) if self._may_be_in(part)]

    def condition(self, repo: FeatureRepo) -> tuple[str, dict[str, Any]]:
        """Return the condition as SQL, and its parameters: what clients send is never part of the text."""
        conditions, given = [within(self.since, self.until)], dict[str, Any]()
        for column, value in (("class", self.label), ("model_version", self.version), ("actor", self.actor)):
            if value is not None:
                conditions.append(f"{column} = ${column}")
                given[column] = value
        if self.what_if is not None:
            conditions.append("what_if IS TRUE" if self.what_if else "what_if IS NOT TRUE")
        if self.entity is not None:
            path = '$."{}"'.format(_key(repo.layout.repo, registry_version(repo)).replace('"', '\\"'))
            conditions.append(f"json_extract_string(entity, {text(path)}) = $entity")
            given["entity"] = self.entity
        return " AND ".join(conditions), given

    def _may_be_in(self, part: Part) -> bool:
        if self.version is not None and part.version not in (None, self.version):
            return False
        if self.actor is not None and part.actors is not None and self.actor not in part.actors:
            return False
        if self.what_if is None:
            return True
        return bool(part.what_if) if self.what_if else part.counted > 0


def newest(repo: FeatureRepo, which: Which, limit: int) -> list[dict[str, Any]]:
    """Return the predictions that were served last, the newest first.

    Returns
    -------
    list of dict
        ``prediction_id``, ``predicted_at`` (the problem's clock), ``served_at`` (the machine's), ``entity`` (keys and
        inputs), ``class``, ``probability``, ``model_version``, ``stale``, ``actor`` (None where it is not known),
        ``what_if``, and ``outcome``: the label, 0 or 1, as far as :func:`monitoring.truth.update_truth` knows it. A
        what-if has none.

    Raises
    ------
    Unavailable
        When others are looking back, and take long.
    """
    chosen = sorted(which.parts(repo), key=lambda part: part.served, reverse=True)
    if not chosen:
        return []
    condition, given = which.condition(repo)
    found: list[dict[str, Any]] = []
    start, count = 0, _FIRST_PARTS
    with looking() as con:
        # Parts of several workers overlap: the next may hold newer rows than the last one that was found.
        while start < len(chosen) and (len(found) < limit or found[-1]["served_at"] <= chosen[start].served):
            found += _rows(con, repo, chosen[start : start + count], condition, given, limit)
            found = sorted(found, key=lambda row: (row["served_at"], row["prediction_id"]), reverse=True)[:limit]
            start, count = start + count, min(2 * count, _MOST_PARTS)
    outcomes = TruthStore(repo.layout).labels(
        {row["predicted_at"].date() for row in found}, [row["prediction_id"] for row in found]
    )
    return [
        {**row, "entity": json.loads(row["entity"]), "outcome": outcomes.get(row["prediction_id"])} for row in found
    ]


@contextmanager
def looking() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection with bounded memory; only a few are there at once.

    Raises
    ------
    Unavailable
        When none becomes free in time.
    """
    if not _turns.acquire(timeout=_PATIENCE_SECONDS):
        raise Unavailable("Others are looking back just now, and it takes long.", hint="Ask for a shorter time.")
    try:
        with connect(memory=_MEMORY) as con:
            con.execute("SET preserve_insertion_order = false")
            yield con
    finally:
        _turns.release()


def _rows(
    con: duckdb.DuckDBPyConnection,
    repo: FeatureRepo,
    some: Sequence[Part],
    condition: str,
    given: dict[str, Any],
    limit: int,
) -> list[dict[str, Any]]:
    """Return the newest rows of some parts."""
    columns = ", ".join(f'"{name}"' for name in _COLUMNS)
    query = (
        f"SELECT {columns} FROM {everything(repo.layout, some)} WHERE {condition} "
        f"ORDER BY served_at DESC, prediction_id DESC LIMIT {int(limit)}"
    )
    rows = con.execute(query, given).fetchall()
    return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]


@lru_cache(maxsize=8)
def _key(folder: Path, _registry: str) -> str:
    """Return the name of the entity's key in a feature repo, as of a version of its registry."""
    repo = FeatureRepo.load(folder)
    return needs(repo, open_store(repo)).entity_keys[0]
