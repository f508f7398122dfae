"""The routes that every service with jobs has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Header, Query, Request, Response

from core.jobs.answers import JobLines, JobList, JobState, queued
from core.jobs.ids import KEY
from core.jobs.jobs import MAX_LISTED
from core.jobs.metrics import job_gauges
from core.jobs.model import Status
from core.service import add_gauges, answer, json_response, principal, problems, requires

if TYPE_CHECKING:
    from fastapi import FastAPI

    from core.jobs.jobs import Jobs
    from core.jobs.model import Job

IdempotencyKey = Annotated[
    str | None, Header(pattern=KEY, description="The same key again gives the same job. Visible ASCII characters.")
]


def accepted(kind: str) -> dict[str, Any]:
    """Return what a route's ``responses`` say of 202, where it starts a job of this kind."""
    return {**answer(JobState, queued(kind)), "description": "The job, queued; Location says where to look at it."}


def started(job: Job, prefix: str = "", **more: Any) -> Response:
    """Return the answer to a request that started a job: 202, the job (and ``more``), and where to look at it."""
    return json_response({**more, **job.as_dict()}, 202, {"location": f"{prefix}/jobs/{job.id}"})


def add_job_routes(
    app: FastAPI,
    jobs: Jobs,
    *,
    scope: str,
    prefix: str = "",
    reading: tuple[str, ...] = ("read",),
    private: bool = False,
) -> None:
    """Add ``/jobs``, ``/jobs/{job_id}``, its log, cancel and retry; and tell Prometheus of the jobs.

    Parameters
    ----------
    app : FastAPI
        The service.
    jobs : Jobs
        Its jobs.
    scope : str
        What it takes to cancel and retry; that, or one of ``reading``, to look.
    prefix : str
        Path before ``/jobs``, for example ``/training``.
    private : bool
        Whether a job is there for whoever started it, and for those who may see what others asked for.
    """

    def only(request: Request) -> str | None:
        return principal(request).confined_to if private else None

    def own(request: Request, job_id: str) -> Job:
        return jobs.get(job_id, actor=only(request))

    look = requires(scope, *(s for s in reading if s != scope))
    base: dict[str, Any] = {"tags": ["jobs"]}
    add_gauges(app, "jobs", lambda: job_gauges(jobs))

    @app.get(
        f"{prefix}/jobs", summary="Jobs, newest first", openapi_extra=look, responses=problems(JobList, 422), **base
    )
    def list_jobs(
        request: Request,
        kind: Annotated[str | None, Query(max_length=80)] = None,
        status: Status | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 50,
    ) -> Response:
        found = jobs.list(kind, status, limit, actor=only(request))
        return json_response({"jobs": [job.as_dict() for job in found]})

    @app.get(
        f"{prefix}/jobs/{{job_id}}",
        summary="One job: status, progress, steps, result or error",
        openapi_extra=look,
        responses=problems(JobState, 404),
        **base,
    )
    def get_job(request: Request, job_id: str) -> Response:
        return json_response(own(request, job_id).as_dict())

    @app.get(
        f"{prefix}/jobs/{{job_id}}/log",
        summary="The lines of a job's log, also while it runs",
        openapi_extra=look,
        responses=problems(JobLines, 404, 422),
        **base,
    )
    def get_log(
        request: Request,
        job_id: str,
        since: Annotated[int, Query(ge=0, le=1_000_000, description="First line: the last answer's `next`.")] = 0,
    ) -> Response:
        lines = jobs.log(own(request, job_id).id, since)
        return json_response({"lines": lines, "next": since + len(lines)})

    @app.post(
        f"{prefix}/jobs/{{job_id}}/cancel",
        summary="Stop a job; what its steps have finished stays",
        openapi_extra=requires(scope),
        responses=problems(JobState, 404, 409),
        **base,
    )
    def cancel_job(request: Request, job_id: str) -> Response:
        return json_response(jobs.cancel(own(request, job_id).id).as_dict())

    @app.post(
        f"{prefix}/jobs/{{job_id}}/retry",
        summary="Let a failed or cancelled job go on where it stopped",
        openapi_extra=requires(scope),
        status_code=202,
        responses={202: answer(JobState), **problems(None, 404, 409)},
        **base,
    )
    def retry_job(request: Request, job_id: str) -> Response:
        return started(jobs.retry(own(request, job_id).id), prefix)
