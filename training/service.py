"""The training service: training jobs, the registered versions, their comparison, and who becomes champion."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response
from starlette.types import ASGIApp

from core.database import database
from core.errors import Conflict, NoData, PunctualError
from core.files import read_json
from core.jobs import IdempotencyKey, Jobs, add_job_routes, started
from core.jobs.answers import JobState
from core.notify import Notifier
from core.registry import VERSION, RegistryReader
from core.repo import FeatureRepo
from core.service import answer, create_app, harden, json_response, problems, requires
from core.settings import Settings
from core.tables import Promotion
from training.answers import Options, RegisteredVersions, TrainingJob, VersionInFull, Weeks
from training.compare import compare, performance
from training.compare_page import page
from training.compared import Comparison
from training.dataset import MANIFEST
from training.documents import TrainRequest, VersionPath
from training.jobs import KIND, register_training
from training.ledger import Ledger, as_dict
from training.overrides import Overrides, options
from training.params import TrainParams
from training.promotion import Promotions
from training.promotion_messages import message_of, message_of_training
from training.promotion_routes import add_promotion_routes, person, quiet
from training.registry import Registry

log = logging.getLogger("punctual.training")

_READ = requires("train", "read")
_CHANGE = requires("train")


class Service:
    """What the routes share. MLflow is opened when it is asked for: the service starts, and says so, without it."""

    def __init__(self, repo: FeatureRepo, settings: Settings) -> None:
        self.repo = repo
        self.settings = settings
        self.params = TrainParams.load(Path("params.yaml"))
        self.database = database(repo, settings)
        self.jobs = Jobs("training", repo=repo, settings=settings)
        register_training(self.jobs, repo, settings, self._tell_of_training)
        self.reader = RegistryReader(repo, settings)
        self.ledger = Ledger(self.database, repo.problem.name)
        self.notifier = Notifier(settings)

    @cached_property
    def promotions(self) -> Promotions:
        """The write side of the registry; opened again at the next call where MLflow was away at this one."""
        registry = Registry(self.repo, self.settings)
        return Promotions(registry, self.database, self.settings.promotion_approvals, self._tell)

    def _tell(self, row: Promotion) -> None:
        # Who promotes does not wait for a receiver that is away.
        threading.Thread(target=self.notifier.send, args=(message_of(row),), name="notify", daemon=True).start()

    def _tell_of_training(self, version: str) -> None:
        if (message := message_of_training(self.ledger, version)) is not None:
            self.notifier.send(message)

    def settle(self) -> None:
        """Finish what an earlier process was killed in; where that cannot be now, the next promotion does."""
        try:
            self.promotions.settle()
        except PunctualError as error:
            log.warning("promotions could not be settled", extra={"detail": str(error)})


def build_app(repo: FeatureRepo, settings: Settings) -> ASGIApp:
    """Make the training service of one feature repo.

    Raises
    ------
    ConfigError
        When params.yaml or a setting is wrong.
    """
    service = Service(repo, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.jobs.launch)
        settling = asyncio.create_task(asyncio.to_thread(service.settle))
        try:
            yield
        finally:
            await settling
            await asyncio.to_thread(service.jobs.close)
            service.database.close()

    app = create_app(
        f"punctual training: {repo.problem.title or repo.problem.name}",
        name="training",
        description="Trains, compares and promotes models.",
        lifespan=lifespan,
        checks=_checks(service),
        repo=repo,
        settings=settings,
    )
    add_job_routes(app, service.jobs, scope="train", prefix="/training")
    _add_training(app, service)
    _add_models(app, service)
    add_promotion_routes(app, lambda: service.promotions, service.ledger)
    return harden(app)


def _add_training(app: FastAPI, service: Service) -> None:
    @app.post(
        "/training/train",
        tags=["training"],
        summary="Train: a job, with other candidates, parameters or rows if asked",
        status_code=202,
        responses={202: answer(TrainingJob), **problems(None, 409, 422, 503)},
        openapi_extra=_CHANGE,
    )
    def train(
        request: Request,
        body: TrainRequest,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        overrides = Overrides.checked(
            candidates=body.candidates, params=body.overrides, since=body.since, until=body.until
        )
        overrides.apply(service.params, service.repo.problem.candidates)  # what does not fit together is told now
        job = service.jobs.start(
            KIND,
            {
                "promote": body.promote,
                "notify": not quiet(request, body),
                **overrides.model_dump(mode="json", exclude_defaults=True),
            },
            actor=person(request),
            idempotency_key=body.idempotency_key or idempotency_key,
        )
        return started(job, "/training", job_id=job.id)

    @app.get(
        "/training/status/{job_id}",
        tags=["training"],
        summary="How far a training job is, and what came of it",
        responses=problems(JobState, 404),
        openapi_extra=_READ,
    )
    def status(job_id: str) -> Response:
        return json_response(service.jobs.get(job_id).as_dict())

    @app.get(
        "/training/options",
        tags=["training"],
        summary="Candidates and the parameters that a run may set, with bounds and defaults",
        responses=problems(Options),
        openapi_extra=_READ,
    )
    def available() -> Response:
        return json_response(options(service.params, service.repo.problem.candidates))


def _add_models(app: FastAPI, service: Service) -> None:
    repo, reader = service.repo, service.reader
    both = problems(Comparison)
    both[200]["content"]["text/html"] = {"schema": {"type": "string"}, "example": "<!doctype html>…"}

    @app.get(
        "/training/models",
        tags=["models"],
        summary="Every registered version: roles, metrics, lineage",
        responses=problems(RegisteredVersions, 503),
        openapi_extra=_READ,
    )
    def models() -> Response:
        return json_response({"model": reader.name, "roles": reader.aliases(), "versions": reader.versions()})

    @app.get(
        "/training/models/{version}",
        tags=["models"],
        summary="One version, with its parameters and where it has been",
        responses=problems(VersionInFull, 404, 422, 503),
        openapi_extra=_READ,
    )
    def model(version: VersionPath) -> Response:
        found = reader.version(version)
        moves = [as_dict(row) for row in service.ledger.history(500) if row.version == version]
        return json_response({**found, "promotions": moves})

    @app.get(
        "/training/models/{version}/performance",
        tags=["models"],
        summary="A version's metrics on the test rows, week by week",
        responses=problems(Weeks, 404, 409, 422, 503),
        openapi_extra=_READ,
    )
    def weeks(version: VersionPath) -> Response:
        with _data_needed():
            return json_response(performance(repo, reader, version))

    @app.get(
        "/training/compare",
        tags=["models"],
        summary="Two versions on the same test rows, as JSON or as a page with plots",
        responses=both | problems(None, 404, 409, 422, 503),
        openapi_extra=_READ,
    )
    def two(
        a: Annotated[str, Query(pattern=VERSION, examples=["2"])],
        b: Annotated[str, Query(pattern=VERSION, examples=["1"])],
        format: Annotated[Literal["json", "html"], Query()] = "json",  # noqa: A002 - the parameter's public name
    ) -> Response:
        with _data_needed():
            found = compare(repo, reader, a, b)
        if format == "json":
            return json_response(found)
        name = f'attachment; filename="{reader.name}-{a}-{b}.html"'
        return Response(page(found), media_type="text/html", headers={"content-disposition": name})


@contextmanager
def _data_needed() -> Iterator[None]:
    """Tell a client that there is no training set yet as what it is: a state, not a failure."""
    try:
        yield
    except NoData as error:
        raise Conflict(error.message, hint=error.hint) from error


def _checks(service: Service) -> Mapping[str, Any]:
    async def ledger() -> Mapping[str, Any]:
        await asyncio.to_thread(service.database.check)
        return {}

    async def mlflow() -> Mapping[str, Any]:
        return {"roles": await asyncio.to_thread(service.reader.aliases)}

    async def dataset() -> Mapping[str, Any]:
        path = service.repo.layout.dataset / MANIFEST
        try:
            manifest = read_json(path)
        except (FileNotFoundError, ValueError):
            return {"status": "degraded", "detail": "There is no training set yet: the first training builds it."}
        return {"rows": manifest["rows"], "data_version": manifest["data_version"]}

    return {"database": ledger, "jobs": service.jobs.health, "mlflow": mlflow, "dataset": dataset}
