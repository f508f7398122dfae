"""The routes of drift tests: each a job, its report to read or to download."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal

from fastapi import FastAPI, Request, Response

from core.errors import Conflict
from core.jobs import IdempotencyKey, accepted, started
from core.registry import pointed_version
from core.service import json_response, principal, problems, requires, text_answer
from monitoring.documents import DriftRequest, Limit, ReportId
from monitoring.drift_answers import DriftReport, ReportList
from monitoring.drift_reports import list_reports, read_report, report_file
from monitoring.jobs import DRIFT

if TYPE_CHECKING:
    from core.jobs import Jobs
    from core.repo import FeatureRepo

_READ = requires("data", "train", "read")
_CHANGE = requires("data", "train")
_JSON, _HTML = "application/json", "text/html"
# A report's page runs scripts of its own, over values that clients have sent. Nobody's browser is to run them with the
# rights of this service: the page is a file to keep, and shown all the same it has no origin and may do nothing.
_AS_FILE = {"content-security-policy": "sandbox"}


def add_drift_routes(app: FastAPI, repo: FeatureRepo, jobs: Jobs) -> None:
    """Add ``/monitoring/drift``: a test as a job, the reports, and each as a page or as JSON to download."""
    tags: list[str | Enum] = ["drift"]

    @app.post(
        "/monitoring/drift",
        tags=tags,
        summary="Test what was predicted in a window for drift, as a job",
        status_code=202,
        responses={202: accepted(DRIFT), **problems(None, 409, 422, 503)},
        openapi_extra=_CHANGE,
    )
    def test(request: Request, body: DriftRequest, idempotency_key: IdempotencyKey = None) -> Response:
        from monitoring.logged import count_logged

        version = body.version or pointed_version(repo.layout, "champion")
        if not count_logged(repo, body.since, body.until, version=version):
            raise Conflict(
                f"Version {version or 'none'} has predicted nothing between {body.since} and {body.until}.",
                hint="Windows are on the problem's clock.",
            )
        arguments = {**body.model_dump(mode="json", exclude={"version"}), "version": version}
        actor = principal(request).name
        return started(jobs.start(DRIFT, arguments, actor=actor, idempotency_key=idempotency_key))

    @app.get(
        "/monitoring/drift",
        tags=tags,
        summary="Drift reports in short, newest window first",
        responses=problems(ReportList, 422),
        openapi_extra=_READ,
    )
    def reports(limit: Limit = 100) -> Response:
        return json_response({"reports": list_reports(repo, limit)})

    @app.get(
        "/monitoring/drift/{report_id}",
        tags=tags,
        summary="A drift report: every feature, the predictions, performance, in numbers and words",
        responses=problems(DriftReport, 404, 422),
        openapi_extra=_READ,
    )
    def report(report_id: ReportId) -> Response:
        return json_response(read_report(repo, report_id))

    def file(report_id: str, kind: Literal["html", "json"], media_type: str) -> Response:
        name = f'attachment; filename="drift-{report_id}.{kind}"'
        content = report_file(repo, report_id, kind).read_bytes()
        return Response(content, media_type=media_type, headers={"content-disposition": name, **_AS_FILE})

    @app.get(
        "/monitoring/drift/{report_id}/report.html",
        tags=tags,
        summary="A drift report as one page, to download; it runs scripts of its own: show it in a sandbox alone",
        responses={200: text_answer("The page.", _HTML, "<!doctype html>…"), **problems(None, 404, 422)},
        response_class=Response,
        openapi_extra=_READ,
    )
    def page(report_id: ReportId) -> Response:
        return file(report_id, "html", _HTML)

    @app.get(
        "/monitoring/drift/{report_id}/report.json",
        tags=tags,
        summary="A drift report as JSON, to download",
        responses=problems(DriftReport, 404, 422),
        openapi_extra=_READ,
    )
    def data(report_id: ReportId) -> Response:
        return file(report_id, "json", _JSON)
