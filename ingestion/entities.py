"""A search for ids of entities, by any part of them, in the rows of the view that is keyed by the entity alone.

The newest windows are looked at first, one after another, until there are enough ids, or the time or the rows that a
search may take are used up: what it costs does not grow with history.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Any

import duckdb
from fastapi import FastAPI, Query, Response

from core.errors import NotFound, TooManyRequests
from core.service import json_response, problems, requires
from ingestion.answers import Ids
from ingestion.transform import feature_targets
from stores.registry import open_store
from stores.sql import connect, no_longer_than, quote, text

if TYPE_CHECKING:
    from pathlib import Path

    from core.repo import FeatureRepo
    from ingestion.transform import Target

MOST = 50
_ROWS = 5_000_000
_SECONDS = 3.0
_MEMORY = "256MB"
# Two of them take two threads and half a gigabyte; more have to wait.
_AT_ONCE = threading.BoundedSemaphore(2)


def add_entity_routes(app: FastAPI, repo: FeatureRepo) -> None:
    """Add the route of the search."""

    @app.get(
        "/data/entities",
        tags=["data"],
        summary="Ids of entities that contain a text, the newest first",
        responses=problems(Ids, 404, 422, 429),
        openapi_extra=requires("predict", "read", "data"),
    )
    def entities(
        search: Annotated[
            str, Query(max_length=200, description="Any part of an id; upper and lower case alike.")
        ] = "",
        limit: Annotated[int, Query(ge=1, le=MOST)] = 20,
    ) -> Response:
        return json_response(find_ids(repo, search, limit))


def find_ids(repo: FeatureRepo, search: str, limit: int) -> dict[str, Any]:
    """Search for ids.

    Parameters
    ----------
    repo : FeatureRepo
        Whose entities.
    search : str
        Any part of an id, as text; empty for the newest ids there are.
    limit : int
        At most so many.

    Returns
    -------
    dict
        ``view`` and ``key``: where it was looked for; ``ids``, each once, those of the newest windows and moments
        first; ``whole``: whether there are no others, as far as all rows were looked at.

    Raises
    ------
    NotFound
        When no view is keyed by the entity alone, or it has no rows yet.
    TooManyRequests
        When too many search at once.
    """
    target, key = _home(repo)
    files = sorted(target.folder.glob("*.parquet"), reverse=True)
    if not files:
        raise NotFound(f"There are no rows of {target.view} yet.", hint="Run the step that makes them.")
    if not _AT_ONCE.acquire(timeout=_SECONDS):
        raise TooManyRequests("Too many search at once.", hint="Try again in 1 s.", retry_after=1)
    try:
        ids, whole = _look(files, target, key, search.strip(), limit)
    finally:
        _AT_ONCE.release()
    return {"view": target.view, "key": key, "ids": ids, "whole": whole}


def _home(repo: FeatureRepo) -> tuple[Target, str]:
    """Return the view that is keyed by the problem's entity alone, and its key."""
    targets = feature_targets(repo)
    keys = {entity.join_key for entity in open_store(repo).list_entities() if entity.name == repo.problem.entity}
    for name in sorted(targets):
        if len(keys) == 1 and set(targets[name].keys) == keys:
            return targets[name], next(iter(keys))
    raise NotFound(
        f"No feature view is keyed by {repo.problem.entity} alone, so there is nowhere to look for its ids.",
        hint="Type an id.",
    )


def _look(files: list[Path], target: Target, key: str, search: str, limit: int) -> tuple[list[Any], bool]:
    found: dict[Any, None] = {}
    rows = 0
    with connect(memory=_MEMORY, threads=1) as con, no_longer_than(con, _SECONDS) as over:
        for path in files:
            if rows > _ROWS or over():
                return list(found), False
            column, moment = quote(key), quote(target.timestamp)
            # (Of the ids that a window has, those that newer ones had are known already.)
            query = (
                f"SELECT {column} FROM read_parquet({text(path)}) "
                f"WHERE {column} IS NOT NULL AND contains(lower(CAST({column} AS VARCHAR)), lower(?)) "
                f"GROUP BY {column} ORDER BY max({moment}) DESC, {column} LIMIT ?"
            )
            try:
                counted = con.execute(f"SELECT sum(num_rows) FROM parquet_file_metadata({text(path)})").fetchone()
                ids = con.execute(query, [search, limit + len(found) + 1]).fetchall()
            except duckdb.IOException:
                continue  # computed anew at this very moment
            except (duckdb.InterruptException, duckdb.OutOfMemoryException):
                return list(found), False
            rows += int(counted[0] or 0) if counted else 0
            found.update(dict.fromkeys(one[0] for one in ids))
            if len(found) > limit:
                return list(found)[:limit], False
    return list(found), True
