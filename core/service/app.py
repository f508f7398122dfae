"""The app factory: routes are added to what it makes, and :func:`core.service.harden` puts it behind its safe front."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from core.auth import Accounts, Guard
from core.database import database
from core.processes import follow_parent
from core.repo import FeatureRepo
from core.service.access import GuardedRoute
from core.service.health import Check, add_health
from core.service.limits import Limiter, read_limits
from core.service.metrics import RequestMetrics, add_metrics, keep_told
from core.service.problems import Problem, add_handlers
from core.service.reference import add_reference
from core.settings import Settings
from core.worker import loaded

_DESCRIPTION = (
    "Every path is also there under `/v1`. Send an API key or a session token as `Authorization: Bearer …`. "
    "Errors are RFC 9457 problem details; `X-Request-ID` is taken over or given, and finds a request in the logs."
)


def create_app(
    title: str,
    *,
    name: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    checks: Mapping[str, Check],
    spare: Collection[str] = (),
    repo: FeatureRepo,
    settings: Settings,
    description: str = "",
) -> FastAPI:
    """Make a service: add routes, each with its scope, then hand it to :func:`core.service.harden`.

    Parameters
    ----------
    title, description : str
        What the API reference says.
    name : str
        ``prediction``, ``data`` or ``training``: in metrics, health and logs.
    lifespan : callable
        Starts and stops what the service holds; keys and limits are there before it, and after.
    checks : mapping of str to async callable
        Each dependency's check: returns facts about it, or raises a ``PunctualError``.
    spare : collection of str
        The dependencies that it does without: whatever is wrong with them, it is ready.
    repo : FeatureRepo
        Whose database holds accounts, unless the settings name another.
    settings : Settings
        Limits, hosts, timeouts.

    Raises
    ------
    ConfigError
        When a limit cannot be read.
    """
    read_limits(settings)  # wrong ones are told of before anything is started
    metrics = RequestMetrics(name)

    @asynccontextmanager
    async def whole_life(app: FastAPI) -> AsyncIterator[None]:
        follow_parent()
        state = app.state
        store = database(repo, settings)
        state.accounts = Accounts(store, settings, repo.layout)
        state.guard = Guard(store, settings, repo.layout)
        state.limiter = Limiter(settings, metrics)
        state.guard.start()
        metrics.started()
        telling = asyncio.create_task(keep_told(app))
        try:
            async with lifespan(app):
                loaded()
                yield
        finally:
            telling.cancel()
            state.guard.close()
            await state.limiter.close()
            store.close()

    app = FastAPI(
        title=title,
        version=version("punctual"),
        description=f"{description} {_DESCRIPTION}".strip(),
        lifespan=whole_life,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.router.route_class = GuardedRoute
    app.state.name = name
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.max_body_bytes = settings.max_body_bytes
    add_handlers(app)
    add_health(app, name, checks, spare)
    add_metrics(app, name)
    add_reference(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document with both versions of the paths and both ways to send a key."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _add_examples(schema, app)
        _add_problems(schema)
        schema["servers"] = [{"url": "/v1"}, {"url": "/"}]
        schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["bearer"] = {"type": "http", "scheme": "bearer", "description": "An API key or a session token."}
        schemes["api_key"] = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        app.openapi_schema = schema
    return app.openapi_schema


def _add_examples(schema: dict[str, Any], app: FastAPI) -> None:
    """Put in the examples of answers whole: the framework leaves out what is null in them."""
    for route in app.routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods or ():
            documented = schema["paths"][route.path_format][method.lower()]["responses"]
            for status, told in route.responses.items():
                for kind, content in told.get("content", {}).items():
                    if "example" in content:
                        documented[str(status)]["content"][kind]["example"] = content["example"]


def _add_problems(schema: dict[str, Any]) -> None:
    """Document on every operation the refusals that the factory itself answers with, all of them problem details."""
    reference = {"$ref": "#/components/schemas/Problem"}
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    schemas.setdefault("Problem", Problem.model_json_schema(ref_template="#/components/schemas/{model}"))
    for name, definition in schemas["Problem"].pop("$defs", {}).items():
        schemas.setdefault(name, definition)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, methods in schema["paths"].items():
        if path.startswith("/health"):
            continue  # a probe reads what is wrong in the same form as what is right
        for operation in methods.values():
            answers = operation["responses"]
            common = {404, 422, 429, 503, 504} | ({401, 403} if operation.get("security") else set())
            common |= {413} if "requestBody" in operation else set()
            for status in common | {int(code) for code in answers if code.isdigit() and int(code) >= 400}:
                if "application/problem+json" not in answers.get(str(status), {}).get("content", {}):
                    content = {"application/problem+json": {"schema": reference}}
                    answers[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
