"""What is made of what: which raw tables a view's SQL reads, and which views make up what a model is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response

from core.repo import SPINE
from core.service import json_response, problems, requires
from ingestion.answers import Made
from stores.raw import data_version
from stores.registry import feature_service, feature_views, open_store
from stores.sql import connect

if TYPE_CHECKING:
    from core.repo import FeatureRepo, Query

_READ = requires("data", "read")


def add_lineage_route(app: FastAPI, repo: FeatureRepo) -> None:
    """Add ``GET /data/lineage``."""

    @app.get(
        "/data/lineage",
        tags=["data"],
        summary="What is made of what: raw tables, feature views, the feature service, the rows to learn from",
        responses=problems(Made),
        openapi_extra=_READ,
    )
    def show() -> Response:
        return json_response(lineage(repo))


def lineage(repo: FeatureRepo) -> dict[str, Any]:
    """Return what is made of what, as it is defined now.

    Returns
    -------
    dict
        ``tables``: names of the raw tables. ``views``: one a feature view, with ``name``, ``tables`` that its SQL
        reads, ``views`` and request-time ``inputs`` that an on-demand view computes from, its ``features`` and how many
        of them are ``used`` by the feature service. ``feature_service``: its name, None where none is applied yet.
        ``spine``: the ``tables`` that labelled rows come from. ``data_version``: of all raw data.
    """
    applied = (repo.layout.data / "registry.json").is_file()
    return {
        "tables": list(repo.schemas),
        "views": _views(repo) if applied else [],
        "feature_service": repo.problem.feature_service if applied else None,
        "spine": {"tables": tables_of(repo.spine, list(repo.schemas))},
        "data_version": data_version(repo),
    }


def tables_of(query: Query, known: list[str]) -> list[str]:
    """Return which of the known tables a query reads, in their order; names in comments and texts do not count.

    Of a query that cannot be parsed (whoever runs it is told so), every table that it mentions.
    """
    with connect() as con:
        row = con.execute("SELECT json_serialize_sql(?)", [query.text]).fetchone()
    parsed = json.loads(row[0]) if row else {"error": True}
    if parsed.get("error"):
        return [name for name in known if query.mentions(name)]
    read = {name.casefold() for name in _read_in(parsed)}
    return [name for name in known if name.casefold() in read]


def _read_in(node: Any) -> Iterator[str]:
    """Give the names of tables, and of common table expressions, that stand after a FROM."""
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            yield str(node["table_name"])
        for part in node.values():
            yield from _read_in(part)
    elif isinstance(node, list):
        for part in node:
            yield from _read_in(part)


def _views(repo: FeatureRepo) -> list[dict[str, Any]]:
    store = open_store(repo)
    projections = feature_service(repo, store).feature_view_projections
    used = {projection.name: len(projection.features) for projection in projections}
    queries = {name: query for name, query in repo.queries.items() if name != SPINE}
    known = list(repo.schemas)
    found = [
        {
            "name": view.name,
            "tables": tables_of(queries[view.name], known) if view.name in queries else [],
            "views": [],
            "inputs": [],
            "features": len(view.features),
            "used": used.get(view.name, 0),
        }
        for view in feature_views(store)
    ]
    for view in sorted(store.list_on_demand_feature_views(), key=lambda view: view.name):
        found.append(
            {
                "name": view.name,
                "tables": [],
                "views": sorted(one.name for one in view.source_feature_view_projections.values()),
                "inputs": sorted(view.get_request_data_schema()),
                "features": len(view.features),
                "used": used.get(view.name, 0),
            }
        )
    return found
