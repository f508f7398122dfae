"""The routes that show data: rows, what is in columns, versions, and what validation found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Response

from core.client import Layer
from core.files import read_json
from core.service import json_response, problems, requires
from core.windows import list_windows
from ingestion import versions
from ingestion.answers import DataVersions, Preview, Profile, Reports
from ingestion.documents import Columns, Sort, Table, Where
from ingestion.preview import MAX_ROWS, preview
from ingestion.profile import profile

if TYPE_CHECKING:
    from core.repo import FeatureRepo


def add_look_routes(app: FastAPI, repo: FeatureRepo) -> None:
    """Add ``/data/preview``, ``/data/profile``, ``/data/versions`` and ``/data/reports``."""
    look: dict[str, Any] = {"tags": ["data"], "openapi_extra": requires("data", "read")}

    @app.get(
        "/data/preview",
        summary="Some rows of a table: raw, valid, in quarantine, or made into features",
        responses=problems(Preview, 404, 409, 422, 429),
        **look,
    )
    def rows(
        table: Table,
        layer: Layer = "raw",
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 50,
        columns: Columns = None,
        where: Where = None,
        sort: Sort = None,
        descending: bool = False,
    ) -> Response:
        found = preview(
            repo, table, layer, limit=limit, columns=columns, where=where or (), sort=sort, descending=descending
        )
        return json_response(found)

    @app.get(
        "/data/profile",
        summary="What is in each column of a table, counted over all of its rows",
        responses=problems(Profile, 404, 409, 422, 429),
        **look,
    )
    def in_columns(table: Table, layer: Layer = "raw", columns: Columns = None, where: Where = None) -> Response:
        return json_response(profile(repo, table, layer, columns=columns, where=where or ()))

    @app.get("/data/versions", summary="Data versions, newest first", responses=problems(DataVersions), **look)
    def list_versions() -> Response:
        return json_response({"versions": versions.list_versions(repo)})

    @app.get("/data/reports", summary="What the validation of each window found", responses=problems(Reports), **look)
    def reports(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        folder = repo.layout.reports / "validation"
        windows = list_windows(repo.layout.valid)[::-1][:limit]
        return json_response({"reports": [read_json(folder / f"{window.id}.json") for window in windows]})
