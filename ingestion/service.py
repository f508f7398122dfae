"""The data service: windows in, checked, made into features, served online; the flow over all of it; accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from starlette.types import ASGIApp

from core.auth.routes import add_auth_routes
from core.client import PredictionClient, TrainingClient
from core.database import database
from core.jobs import IdempotencyKey, Jobs, accepted, add_job_routes, started
from core.notify import Notifier
from core.repo import FeatureRepo
from core.service import add_gauges, create_app, harden, json_response, principal, problems, requires
from core.service.answers import Move
from core.settings import Settings
from core.windows import list_windows
from ingestion.answers import FlowRunList
from ingestion.documents import ImportRequest, MaterializeRequest, Nothing, RollbackRequest
from ingestion.entities import add_entity_routes
from ingestion.flow import KIND, STEPS, Flow
from ingestion.flow_runs import FlowRuns
from ingestion.lineage import add_lineage_route
from ingestion.look_routes import add_look_routes
from ingestion.metrics import freshness_gauges, window_gauges
from ingestion.step_jobs import APPLY, DATASET, IMPORT, MATERIALIZE, PREPROCESS, VALIDATE, check_views, register_steps
from ingestion.steps import Steps
from ingestion.triggers import NewDataWatch, on_schedule, start_flow

_READ = requires("data", "read")
_CHANGE = requires("data")


class Service:
    """What the routes share."""

    def __init__(self, repo: FeatureRepo, settings: Settings, steps: Steps) -> None:
        self.repo = repo
        self.settings = settings
        self.database = database(repo, settings)
        self.runs = FlowRuns(self.database)
        self.jobs = Jobs("data", repo=repo, settings=settings)
        # All of it changes the same files: one at a time, the flow included.
        self.jobs.queue("data", concurrency=1)
        register_steps(self.jobs, steps)
        flow = Flow(
            steps,
            training=self.training,
            prediction=lambda: PredictionClient.local(settings, repo.layout),
            runs=self.runs,
            notifier=Notifier(settings),
        )
        self.jobs.register(
            KIND,
            flow.run,
            steps=STEPS,
            queue="data",
            on_cancel=flow.cancelled,
            on_retry=self.runs.again,
            on_give_up=flow.given_up,
        )
        if settings.flow_schedule:
            self.jobs.schedule("flow", settings.flow_schedule, on_schedule(self.jobs))
        self.watch = NewDataWatch(repo, self.jobs, settings.flow_poll) if settings.flow_poll else None

    def training(self) -> TrainingClient:
        """Return a client of the training service; close it."""
        return TrainingClient.local(self.settings, self.repo.layout)

    def start(self) -> None:
        """Begin to run jobs and to look for new data."""
        self.jobs.launch()
        if self.watch:
            self.watch.start()

    def close(self) -> None:
        """Stop; what is at work goes on at the next start."""
        if self.watch:
            self.watch.close()
        self.jobs.close()
        self.database.close()


def build_app(repo: FeatureRepo, settings: Settings, steps: Steps | None = None) -> ASGIApp:
    """Make the data service of one feature repo.

    Parameters
    ----------
    repo, settings : FeatureRepo, Settings
        What to serve, and how.
    steps : Steps, optional
        The steps on data, if they are to be tried more or less often than usual.

    Raises
    ------
    ConfigError
        When a setting is wrong.
    """
    service = Service(repo, settings, steps or Steps(repo))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.start)
        try:
            yield
        finally:
            await asyncio.to_thread(service.close)

    app = create_app(
        f"punctual data: {repo.problem.title or repo.problem.name}",
        name="data",
        description="Imports, checks and prepares data, runs the whole flow, and keeps accounts.",
        lifespan=lifespan,
        checks=_checks(service),
        repo=repo,
        settings=settings,
    )
    _add_data(app, service)
    add_look_routes(app, repo)
    add_entity_routes(app, repo)
    add_lineage_route(app, repo)
    _add_flow(app, service)
    add_job_routes(app, service.jobs, scope="data")
    add_auth_routes(app)
    add_gauges(app, "windows", lambda: window_gauges(repo))
    add_gauges(app, "freshness", lambda: freshness_gauges(repo))
    return harden(app)


def _add_data(app: FastAPI, service: Service) -> None:
    repo, jobs = service.repo, service.jobs
    job: dict[str, Any] = {
        "tags": ["data"],
        "status_code": 202,
        "openapi_extra": _CHANGE,
    }

    def begun(kind: str) -> dict[int | str, dict[str, Any]]:
        return {202: accepted(kind), **problems(None, 409, 422, 503)}

    @app.post(
        "/data/import",
        summary="Import the next window of raw data, or the one named",
        responses=begun(IMPORT),
        **job,
    )
    def import_data(
        request: Request, body: ImportRequest | None = None, idempotency_key: IdempotencyKey = None
    ) -> Response:
        arguments = (body or ImportRequest()).model_dump(mode="json", exclude_none=True)
        return started(jobs.start(IMPORT, arguments, actor=_actor(request), idempotency_key=idempotency_key))

    @app.post("/data/validate", summary="Check the windows that are not checked yet", responses=begun(VALIDATE), **job)
    def validate(request: Request, body: Nothing | None = None, idempotency_key: IdempotencyKey = None) -> Response:
        return started(jobs.start(VALIDATE, {}, actor=_actor(request), idempotency_key=idempotency_key))

    @app.post("/data/apply", summary="Make the definitions of the feature repo known", responses=begun(APPLY), **job)
    def apply(request: Request, body: Nothing | None = None, idempotency_key: IdempotencyKey = None) -> Response:
        return started(jobs.start(APPLY, {}, actor=_actor(request), idempotency_key=idempotency_key))

    @app.post("/data/preprocess", summary="Turn checked rows into feature rows", responses=begun(PREPROCESS), **job)
    def preprocess(request: Request, body: Nothing | None = None, idempotency_key: IdempotencyKey = None) -> Response:
        return started(jobs.start(PREPROCESS, {}, actor=_actor(request), idempotency_key=idempotency_key))

    @app.post(
        "/data/materialize", summary="Write what arrived into the online store", responses=begun(MATERIALIZE), **job
    )
    def materialize(
        request: Request, body: MaterializeRequest | None = None, idempotency_key: IdempotencyKey = None
    ) -> Response:
        arguments = (body or MaterializeRequest()).model_dump(exclude_none=True)
        check_views(repo, arguments.get("views"))
        return started(jobs.start(MATERIALIZE, arguments, actor=_actor(request), idempotency_key=idempotency_key))

    @app.post(
        "/data/dataset",
        summary="Build the rows to learn from: labels with what was known at their moment",
        responses=begun(DATASET),
        **job,
    )
    def dataset(request: Request, body: Nothing | None = None, idempotency_key: IdempotencyKey = None) -> Response:
        return started(jobs.start(DATASET, {}, actor=_actor(request), idempotency_key=idempotency_key))


def _add_flow(app: FastAPI, service: Service) -> None:
    @app.post(
        "/flow/run",
        tags=["flow"],
        summary="Run the whole flow: import, validate, preprocess, materialize, train, gate, promote, reload",
        status_code=202,
        responses={202: accepted(KIND), **problems(None, 409, 422, 503)},
        openapi_extra=_CHANGE,
    )
    def run(request: Request, body: Nothing | None = None, idempotency_key: IdempotencyKey = None) -> Response:
        return started(start_flow(service.jobs, "hand", actor=_actor(request), key=idempotency_key))

    @app.get(
        "/flow/runs",
        tags=["flow"],
        summary="Runs of the flow, newest first",
        responses=problems(FlowRunList),
        openapi_extra=_READ,
    )
    def runs(limit: Annotated[int, Query(ge=1, le=500)] = 50) -> Response:
        return json_response({"runs": service.runs.latest(limit)})

    @app.post(
        "/flow/rollback",
        tags=["flow"],
        summary="Make the previous champion the champion again, at once",
        responses=problems(Move, 409, 422, 503),
        openapi_extra=_CHANGE,
    )
    def rollback(request: Request, body: RollbackRequest) -> Response:
        with closing(service.training()) as client:
            reason = f"{body.reason} (asked for by {_actor(request)})"
            return json_response(client.rollback(reason, expected=body.expected))


def _actor(request: Request) -> str:
    return principal(request).name


def _checks(service: Service) -> Mapping[str, Any]:
    async def accounts() -> Mapping[str, Any]:
        await asyncio.to_thread(service.database.check)
        return {}

    async def raw() -> Mapping[str, Any]:
        windows = list_windows(service.repo.layout.raw)
        if not windows:
            return {"status": "degraded", "detail": "Nothing was imported yet."}
        return {"windows": len(windows), "until": windows[-1].until}

    async def online() -> Mapping[str, Any]:
        return await asyncio.to_thread(_online, service.repo)

    return {"database": accounts, "jobs": service.jobs.health, "raw_data": raw, "online_store": online}


def _online(repo: FeatureRepo) -> Mapping[str, Any]:
    """Whether the online store answers; without it, all but materializing goes on."""
    from redis.exceptions import RedisError

    from stores.connection import connect
    from stores.registry import open_store

    try:
        with closing(connect(open_store(repo).config)) as client:
            client.ping()
    except (RedisError, OSError) as error:
        return {"status": "degraded", "detail": f"It does not answer: {error}"}
    return {}
