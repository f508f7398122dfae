"""The prediction service: an entity's id in, a prediction out, every one of them traceable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from starlette.types import ASGIApp

from core.errors import Overloaded
from core.logs import setup_logs
from core.repo import FeatureRepo
from core.service import Harden, create_app, json_response, read_body
from core.settings import Settings, get_settings
from serving import lineage, model_store
from serving.documents import PredictResponse, Problem, request_body
from serving.log import PredictionLog
from serving.predict import Predictor, check_fit
from serving.request import RequestReader
from serving.resolve import needs
from stores.registry import open_store


class Service:
    """What the routes share once the service has started."""

    predictor: Predictor
    log: PredictionLog


def build_app(repo: FeatureRepo, settings: Settings) -> ASGIApp:
    """Make the prediction service of one feature repo.

    Opens registry and model now, so that what is wrong with them is a clear error before anything listens; the store's
    connection and the log are opened when the app starts.

    Raises
    ------
    ConfigError
        When the registry does not hold what problem.yaml names.
    ModelUnavailable
        When there is no champion, or it asks for features that the feature service does not give.
    """
    store = open_store(repo)
    wanted = needs(repo, store)
    model = model_store.load_champion(repo.layout)
    check_fit(model, wanted)
    reader = RequestReader(wanted, settings.max_batch)
    service = Service()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.log = PredictionLog(repo.layout.predictions, settings.log_queue)
        service.predictor = Predictor(store, wanted, model, repo.clock, service.log)
        try:
            await service.predictor.start()
            yield
        finally:
            service.predictor.close()
            await asyncio.to_thread(service.log.close)

    app = create_app(
        f"punctual: {repo.problem.title or repo.problem.name}",
        version=version("punctual"),
        description="Predictions by entity id. Errors are RFC 9457 problem details.",
        lifespan=lifespan,
        checks=_checks(repo, service),
        max_body_bytes=settings.max_body_bytes,
    )

    @app.post(
        "/predict",
        tags=["predictions"],
        summary="Predict for one or many entities by id",
        responses=_responses(PredictResponse, 404, 409, 413, 422, 503),
        openapi_extra={"requestBody": request_body(repo, wanted)},
    )
    async def predict(request: Request) -> Response:
        entities = reader.read(await read_body(request))
        return json_response({"predictions": await service.predictor.predict(entities)})

    @app.get("/models/available", tags=["models"], summary="The model versions that this machine can serve")
    async def models() -> Response:
        return json_response(await asyncio.to_thread(model_store.available, repo.layout))

    @app.get(
        "/predictions/{prediction_id}",
        tags=["predictions"],
        summary="What a prediction was made of, and where that came from",
        responses=_responses(None, 404),
    )
    async def prediction(prediction_id: str) -> Response:
        def look() -> dict[str, Any]:
            service.log.flush()
            return lineage.find(repo.layout, prediction_id)

        return json_response(await asyncio.to_thread(look))

    return Harden(app)


def create() -> ASGIApp:
    """Make the app from the settings: what a server process calls."""
    settings = get_settings()
    setup_logs(settings.log_level, settings.log_format)
    return build_app(FeatureRepo.load(settings.feature_repo), settings)


def _checks(repo: FeatureRepo, service: Service) -> Mapping[str, Any]:
    async def store() -> Mapping[str, Any]:
        await service.predictor.ping()
        return {}

    async def model() -> Mapping[str, Any]:
        return {"version": service.predictor.model.version}

    async def log() -> Mapping[str, Any]:
        lag = service.log.lag
        if lag.failing:
            raise Overloaded(f"The prediction log cannot be written: {lag.failing}.")
        return {"waiting": lag.waiting}

    async def clock() -> Mapping[str, Any]:
        return {"now": repo.clock.now()}

    return {"store": store, "model": model, "log": log, "clock": clock}


def _responses(good: type[BaseModel] | None, *statuses: int) -> dict[int | str, dict[str, Any]]:
    problems: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "content": {"application/problem+json": {}}} for status in statuses
    }
    return {200: {"model": good}, **problems} if good else problems
