"""The monitoring service: turns and drift tests as jobs, and reports, performance, alarms and decisions to look at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from starlette.types import ASGIApp

from core.database import database
from core.errors import Conflict, NoData, NotFound
from core.jobs import IdempotencyKey, Jobs, accepted, add_job_routes, started
from core.registry import VERSION
from core.repo import FeatureRepo
from core.service import create_app, harden, json_response, principal, problems, requires
from core.settings import Settings
from monitoring.alarms import Alarms, State
from monitoring.answers import Alarm, AlarmList, Freshness, Windows
from monitoring.decisions import Decisions
from monitoring.documents import AlarmId, Limit, Moment, TurnRequest
from monitoring.drift_routes import add_drift_routes
from monitoring.history_routes import add_history_routes
from monitoring.jobs import TURN, on_schedule, register_jobs, start_turn
from monitoring.metrics import add_monitoring_gauges
from monitoring.turn_answers import DecisionList, LastSkew, Turns
from monitoring.watch import turns

_READ = requires("data", "train", "read")
_CHANGE = requires("data", "train")


class Service:
    """What the routes share."""

    def __init__(self, repo: FeatureRepo, settings: Settings) -> None:
        self.repo = repo
        self.database = database(repo, settings)
        self.alarms = Alarms(self.database, repo.problem.name)
        self.decisions = Decisions(self.database, repo.problem.name)
        self.jobs = Jobs("monitoring", repo=repo, settings=settings)
        register_jobs(self.jobs, repo, settings)
        if settings.monitor_schedule:
            self.jobs.schedule("monitor", settings.monitor_schedule, on_schedule(self.jobs, repo))

    def close(self) -> None:
        """Stop; what is at work goes on at the next start."""
        self.jobs.close()
        self.database.close()


def build_app(repo: FeatureRepo, settings: Settings) -> ASGIApp:
    """Make the monitoring service of one feature repo.

    Raises
    ------
    ConfigError
        When a setting is wrong.
    """
    service = Service(repo, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.jobs.launch)
        try:
            yield
        finally:
            await asyncio.to_thread(service.close)

    app = create_app(
        f"punctual monitoring: {repo.problem.title or repo.problem.name}",
        name="monitoring",
        description="Watches what the model does: truth, drift, alarms, retraining.",
        lifespan=lifespan,
        checks=_checks(service),
        repo=repo,
        settings=settings,
    )
    _add_turns(app, service)
    add_drift_routes(app, service.repo, service.jobs)
    _add_looks(app, service)
    _add_alarms(app, service)
    add_history_routes(app, service.repo)
    add_job_routes(app, service.jobs, scope="train", reading=("data", "read"))
    add_monitoring_gauges(app, repo, service.alarms, settings.monitor_schedule)
    return harden(app)


def _add_turns(app: FastAPI, service: Service) -> None:
    @app.post(
        "/monitoring/run",
        tags=["turns"],
        summary="Take a turn: look, raise alarms, decide, and act on it if it may",
        status_code=202,
        responses={202: accepted(TURN), **problems(None, 409, 422, 503)},
        openapi_extra=_CHANGE,
    )
    def run(request: Request, body: TurnRequest | None = None, idempotency_key: IdempotencyKey = None) -> Response:
        asked = body or TurnRequest()
        try:
            job = start_turn(
                service.jobs,
                service.repo,
                actor=principal(request).name,
                since=asked.since,
                until=asked.until,
                act=asked.act,
                key=idempotency_key,
            )
        except NoData as error:
            raise Conflict(error.message, hint=error.hint) from error
        return started(job)

    @app.get(
        "/monitoring/turns",
        tags=["turns"],
        summary="What each turn found, decided and did; the newest window first",
        responses=problems(Turns, 422),
        openapi_extra=_READ,
    )
    def list_turns(limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Response:
        return json_response({"turns": turns(service.repo.layout, limit)})

    @app.get(
        "/monitoring/decisions",
        tags=["turns"],
        summary="What was decided on retraining and rollback, why, and what came of it; newest first",
        responses=problems(DecisionList, 422, 503),
        openapi_extra=_READ,
    )
    def decisions(limit: Limit = 100) -> Response:
        return json_response({"decisions": service.decisions.list(limit)})


def _add_looks(app: FastAPI, service: Service) -> None:
    repo = service.repo

    @app.get(
        "/monitoring/performance",
        tags=["looks"],
        summary="How good predictions were, by window, version and slice, as far as labels are known",
        responses=problems(Windows, 422),
        openapi_extra=_READ,
    )
    def performance(
        since: Annotated[Moment | None, Query(description="Windows that begin here or later.")] = None,
        until: Annotated[Moment | None, Query(description="Windows that end here or earlier.")] = None,
        version: Annotated[str | None, Query(pattern=VERSION)] = None,
        hours: Annotated[int | None, Query(ge=1, le=10_000, description="Windows of this length: 24 for days.")] = None,
        slices: Annotated[bool, Query(description="Whether to give slices too.")] = True,
    ) -> Response:
        from monitoring.performance import stored_performance

        length = timedelta(hours=hours) if hours else None
        found = [
            one.as_dict()
            for one in stored_performance(repo)
            if (since is None or one.since >= since)
            and (until is None or one.until <= until)
            and version in (None, one.model_version)
            and (length is None or one.until - one.since == length)
            and (slices or one.slice is None)
        ]
        return json_response({"windows": found})

    @app.get(
        "/monitoring/freshness",
        tags=["looks"],
        summary="The age of each feature view that is online, against its promise, now",
        responses=problems(Freshness, 503),
        openapi_extra=_READ,
    )
    def freshness() -> Response:
        from monitoring.freshness import freshness as look

        return json_response({"views": look(repo)})

    @app.get(
        "/monitoring/skew",
        tags=["looks"],
        summary="What the last turn found when it rebuilt logged vectors offline",
        responses=problems(LastSkew, 404),
        openapi_extra=_READ,
    )
    def skew() -> Response:
        for found in turns(repo.layout, 1):
            return json_response({name: found[name] for name in ("since", "until", "skew")})
        raise NotFound("No turn was taken yet.", hint="POST /monitoring/run takes one.")


def _add_alarms(app: FastAPI, service: Service) -> None:
    @app.get(
        "/monitoring/alarms",
        tags=["alarms"],
        summary="Alarms, newest first: open ones, cleared ones, or both",
        responses=problems(AlarmList, 422, 503),
        openapi_extra=_READ,
    )
    def alarms(state: Annotated[State | None, Query()] = None, limit: Limit = 100) -> Response:
        return json_response({"alarms": service.alarms.list(state, limit)})

    @app.post(
        "/monitoring/alarms/{alarm_id}/acknowledge",
        tags=["alarms"],
        summary="Say that you have seen an alarm and take care of it",
        responses=problems(Alarm, 404, 422, 503),
        openapi_extra=_CHANGE,
    )
    def acknowledge(request: Request, alarm_id: AlarmId) -> Response:
        return json_response(service.alarms.acknowledge(alarm_id, actor=principal(request).name))


def _checks(service: Service) -> Mapping[str, Any]:
    async def keeps() -> Mapping[str, Any]:
        await asyncio.to_thread(service.database.check)
        return {}

    async def last_turn() -> Mapping[str, Any]:
        found = await asyncio.to_thread(turns, service.repo.layout, 1)
        if not found:
            return {"status": "degraded", "detail": "No turn was taken yet."}
        return {"until": found[0]["until"], "open_alarms": found[0]["alarms"]["open"]}

    return {"database": keeps, "jobs": service.jobs.health, "last_turn": last_turn}
