"""The routes of predictions by the file."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Annotated

from fastapi import Header, Request, Response
from fastapi.responses import FileResponse

from core.errors import TooManyRequests
from core.jobs import accepted, started
from core.service import file_answer, principal, problems, requires
from serving import uploads
from serving.batch import KIND, result_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from core.jobs import Job, Jobs
    from core.repo import FeatureRepo
    from core.settings import Settings
    from serving.resolve import Needs

_MOST_WAITING = 20  # files of one caller
_FILE = {"schema": {"type": "string", "format": "binary"}}
_UPLOAD = {
    "required": True,
    "description": "A table with a column for each field that an entity of /predict may have.",
    "content": {uploads.PARQUET[0]: _FILE, uploads.CSV[0]: {"schema": {"type": "string"}}},
}


def add_batch_routes(
    app: FastAPI, *, repo: FeatureRepo, settings: Settings, jobs: Jobs, wanted: Callable[[], Needs]
) -> None:
    """Add ``/predict/batch`` and its result; the jobs' own routes say how far one is.

    Parameters
    ----------
    wanted : callable
        What entities may hold; raises ``ModelUnavailable`` while nothing can be predicted.
    """
    # One file at a time: several would take their memory together, and the processor from predictions.
    reading = ThreadPoolExecutor(1, thread_name_prefix="upload")

    @app.post(
        "/predict/batch",
        tags=["predictions"],
        summary="Predict for a file of entities, as a job",
        status_code=202,
        responses={202: accepted(KIND), **problems(None, 413, 422, 429, 503)},
        openapi_extra=requires("predict", max_body_bytes=settings.max_upload_bytes, requestBody=_UPLOAD),
    )
    async def predict_batch(
        request: Request,
        idempotency_key: Annotated[
            str | None, Header(description="The same key and file again give the same job.", max_length=200)
        ] = None,
    ) -> Response:
        needs = wanted()
        body = await request.body()
        kind, caller = request.headers.get("content-type", ""), principal(request).name

        def queue() -> Job:
            _check_open(jobs, caller)
            upload, rows = uploads.keep(repo.layout, uploads.read(body, kind, needs), body)
            return jobs.start(KIND, {"upload": upload, "rows": rows}, actor=caller, idempotency_key=idempotency_key)

        return started(await asyncio.get_running_loop().run_in_executor(reading, copy_context().run, queue))

    @app.get(
        "/predict/batch/{job_id}/result",
        tags=["predictions"],
        summary="The predictions of a file, as Parquet: its columns, the predictions, and why a row has none",
        response_class=FileResponse,
        responses={200: file_answer("The predictions.", uploads.PARQUET[0]), **problems(None, 404, 409)},
        openapi_extra=requires("predict", "read"),
    )
    def result(request: Request, job_id: str) -> Response:
        path = result_of(repo, jobs.get(job_id, actor=principal(request).confined_to))
        return FileResponse(path, media_type=uploads.PARQUET[0], filename=f"{job_id}.parquet")


def _check_open(jobs: Jobs, caller: str) -> None:
    """Let nobody fill the queue for all.

    Raises
    ------
    TooManyRequests
        When the caller has as many files waiting as one may.
    """
    waiting = len(jobs.list(KIND, "queued", _MOST_WAITING, actor=caller))
    if waiting >= _MOST_WAITING:
        raise TooManyRequests(f"{waiting} of your files wait for their predictions already.", retry_after=60)
