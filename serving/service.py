"""The prediction service: an entity's id in, a prediction out, every one of them traceable."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from starlette.types import ASGIApp

from core.clock import epoch_seconds
from core.errors import ConfigError, Overloaded, UnknownEntity
from core.jobs import add_job_routes
from core.reference import MOST_ROWS
from core.repo import FeatureRepo
from core.service import (
    Check,
    add_gauges,
    add_told,
    create_app,
    harden,
    json_response,
    principal,
    problems,
    requires,
)
from core.settings import Settings
from serving import entities, lineage, model_store
from serving.answers import (
    AvailableModels,
    EntityFeatures,
    ExplainedPrediction,
    LearnedFrom,
    PredictResponse,
    TracedPrediction,
)
from serving.batch import jobs_of
from serving.batch_routes import add_batch_routes
from serving.documents import entity_parameter, request_body
from serving.explain import Explainer
from serving.live import Live
from serving.log import PredictionIds, PredictionLog
from serving.metrics import PredictionMetrics, model_gauges
from serving.request import RequestReader
from serving.resolve import Needs, needs
from serving.shadow import Shadow
from stores.registry import open_store

# A thread that writes Parquet or scores for the challenger gives way to requests after so long: Python's own 5 ms would
# be several requests' time.
_SWITCH_SECONDS = 0.0001

# Each request makes hundreds of objects that wait for the log, and no cycles: looking for those at Python's own pace
# costs a request for a hundred entities a fifth of its time.
_COLLECT = (20_000, 20, 50)

# A worker leaves its lines after a second, for others to see.
_TRIES, _AGAIN_SECONDS = 10, 0.2


class Service:
    """What the routes share once the service has started."""

    live: Live
    log: PredictionLog
    shadow: Shadow | None = None

    async def looked_up(self, prediction_id: str, look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Look something up in the log, again while what another worker has just answered may not be there yet."""

        def flush_and_look() -> dict[str, Any]:
            self.log.flush()
            return look()

        given = PredictionIds.given_at(prediction_id)
        tries = _TRIES if given is not None and abs(epoch_seconds() - given) < _TRIES * _AGAIN_SECONDS else 1
        while True:
            try:
                return await asyncio.to_thread(flush_and_look)
            except UnknownEntity:
                tries -= 1
                if not tries:
                    raise
            await asyncio.sleep(_AGAIN_SECONDS)


def build_app(repo: FeatureRepo, settings: Settings) -> ASGIApp:
    """Make the prediction service of one feature repo.

    It starts without a champion, a store or the database, and answers 503 until they are there.

    Raises
    ------
    ConfigError
        When ``feature_store.yaml`` or a setting is wrong, or an input is of a type that no request can hold.
    """
    service, jobs = Service(), jobs_of(repo, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sys.setswitchinterval(_SWITCH_SECONDS)
        await asyncio.to_thread(jobs.launch, work=False)
        metrics = PredictionMetrics()
        service.log = PredictionLog(repo.layout.predictions, settings.log_queue)
        if settings.shadow_share:
            service.shadow = Shadow(repo.layout.shadow, settings.shadow_share, metrics)

        def tell() -> None:
            service.live.catch_up()
            metrics.tell(service.log)

        add_told(app, tell)
        service.live = Live(repo, settings, service.log, metrics, service.shadow, document)
        try:
            await service.live.start()
            gc.set_threshold(*_COLLECT)
            yield
        finally:
            await service.live.close()
            if service.shadow is not None:
                await asyncio.to_thread(service.shadow.close)
            await asyncio.to_thread(service.log.close)
            await asyncio.to_thread(jobs.close)

    app = create_app(
        f"punctual: {repo.problem.title or repo.problem.name}",
        name="prediction",
        description="Predictions by entity id.",
        lifespan=lifespan,
        checks={**_checks(repo, service), "jobs": jobs.health},
        spare=["jobs"],  # they are in the database, without which keys that are known go on
        repo=repo,
        settings=settings,
    )
    prediction_body: dict[str, Any] = {}
    entity_in_path: dict[str, Any] = {}

    def document(wanted: Needs | None) -> None:
        """Let the API reference say what a request and an id hold, as the registry has it now."""
        prediction_body.update(request_body(wanted))
        entity_in_path.update(entity_parameter(wanted))
        app.openapi_schema = None

    wanted = _needs(repo)
    if wanted is not None:
        RequestReader(wanted, settings.max_batch)  # refuses types that no request can hold
    document(wanted)

    async def predict(request: Request) -> Response:
        body = await request.body()
        served = service.live.served  # from here on it is the one that answers, whatever takes over meanwhile
        entities, what_if = served.reader.read(body)
        answers = await served.predictor.predict(entities, actor=principal(request).name, what_if=what_if)
        return json_response({"predictions": answers})

    app.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        tags=["predictions"],
        summary="Predict for one or many entities by id",
        responses=problems(PredictResponse, 404, 409, 413, 422, 503),
        openapi_extra=requires("predict", audited=False, requestBody=prediction_body),  # each is in the log of its own
    )

    add_gauges(app, "model", lambda: model_gauges(service.live, repo.clock))
    add_batch_routes(app, repo=repo, settings=settings, jobs=jobs, wanted=lambda: service.live.needs)
    add_job_routes(app, jobs, scope="predict", private=True)
    _add_reading(app, repo, service, entity_in_path)
    return harden(app, {("POST", "/predict"): ("predict", predict)})


def _add_reading(app: FastAPI, repo: FeatureRepo, service: Service, entity_in_path: dict[str, Any]) -> None:
    explainer = Explainer(repo.layout, lambda: service.live.model)

    @app.get(
        "/models/available",
        tags=["models"],
        summary="The model versions that this machine can serve, and the one that it does",
        responses=problems(AvailableModels),
        openapi_extra=requires("predict", "read"),
    )
    async def models() -> Response:
        found = await asyncio.to_thread(model_store.available, repo.layout)
        return json_response({**found, "serving": service.live.serving})

    @app.get(
        "/models/{version}/learned-from",
        tags=["models"],
        summary="Some of the rows that a version learned from, a list a feature",
        responses=problems(LearnedFrom, 404, 422, 503),
        openapi_extra=requires("read"),
    )
    def learned_from(version: str, limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 1000) -> Response:
        return json_response(model_store.learned_from(repo.layout, version, limit))

    @app.get(
        "/predictions/{prediction_id}",
        tags=["predictions"],
        summary="What a prediction was made of, and where that came from",
        responses=problems(TracedPrediction, 404),
        openapi_extra=requires("predict", "read"),
    )
    async def prediction(request: Request, prediction_id: str) -> Response:
        confined = principal(request).confined_to
        return json_response(
            await service.looked_up(prediction_id, lambda: lineage.find(repo.layout, prediction_id, asked_by=confined))
        )

    @app.get(
        "/explain/{prediction_id}",
        tags=["predictions"],
        summary="What each feature contributed to a prediction, by the model that made it",
        responses=problems(ExplainedPrediction, 404, 409),
        openapi_extra=requires("predict", "read"),
    )
    async def explain(request: Request, prediction_id: str) -> Response:
        confined = principal(request).confined_to
        return json_response(
            await service.looked_up(prediction_id, lambda: explainer.explain(prediction_id, asked_by=confined))
        )

    @app.get(
        "/features/{entity:path}",
        tags=["features"],
        summary="What the online store knows of an entity: values by view, their age, and what each view promises",
        responses=problems(EntityFeatures, 404, 422, 503),
        openapi_extra=requires("predict", "read", parameters=[entity_in_path]),
    )
    async def features(entity: str = Path(include_in_schema=False)) -> Response:
        return json_response(await entities.describe(service.live.served, entity, repo.clock.now()))


def _needs(repo: FeatureRepo) -> Needs | None:
    """Return what a prediction needs, or None while the definitions are not applied."""
    store = open_store(repo)
    try:
        return needs(repo, store)
    except ConfigError:
        return None  # no champion can be loaded either, and /health says why


def _checks(repo: FeatureRepo, service: Service) -> Mapping[str, Check]:
    async def store() -> Mapping[str, Any]:
        await service.live.served.predictor.lookup.ping()
        return {}

    async def model() -> Mapping[str, Any]:
        return service.live.facts()

    async def challenger() -> Mapping[str, Any]:
        return service.live.challenger_facts()

    async def log() -> Mapping[str, Any]:
        lag = service.log.lag
        if lag.failing:
            raise Overloaded(f"The prediction log cannot be written: {lag.failing}.")
        return {"waiting": lag.waiting}

    async def clock() -> Mapping[str, Any]:
        return {"now": repo.clock.now()}

    return {"store": store, "model": model, "challenger": challenger, "log": log, "clock": clock}
