"""Answers: JSON where it went well, RFC 9457 problem details where it did not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Route

from core.errors import InvalidRequest, PunctualError, Unauthenticated, Unavailable
from core.logs import correlation_id
from core.service.answers import Told, answer

log = logging.getLogger("punctual.service")

_RETRY_SECONDS = 1
_WORDS = {404: "Not found", 405: "Method not allowed", 413: "Body too large"}
_SHOWN = 200  # characters of an offending path


class Offence(BaseModel):
    """One thing that is wrong with a request: an entity by its position, or a field."""

    entity: int | None = None
    field: str | None = None
    detail: str


class Problem(BaseModel):
    """Problem details, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    correlation_id: str = ""
    errors: list[Offence] = []


def problems(good: type[Told] | None, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route's ``responses`` are: a good answer (200), and problem details for ``statuses``."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "content": {"application/problem+json": {}}} for status in statuses
    }
    return {200: answer(good), **found} if good else found


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return ``content`` as JSON; times become ISO 8601 UTC, NaN becomes null."""
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY, default=str)
    return Response(body, status, dict(headers or {}), "application/json")


def problem_response(members: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return RFC 9457 problem details; ``status`` among the members is the answer's status."""
    content = {**members, "correlation_id": correlation_id.get()}
    body = orjson.dumps(content, default=str)
    return Response(body, int(members["status"]), dict(headers or {}), "application/problem+json")


def error_response(error: PunctualError) -> Response:
    """Return the problem details of an expected error."""
    if error.status >= 500:
        log.warning("request failed", extra={"error": type(error).__name__, "detail": str(error)})
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="punctual"'
    if isinstance(error, Unavailable) or "retry_after" in error.context:
        headers["retry-after"] = str(error.context.get("retry_after", _RETRY_SECONDS))
    return problem_response(error.problem(), headers)


def unexpected_response() -> Response:
    """Return what a client sees of an error that nobody expected: that there was one, and how to find it."""
    detail = "Something went wrong on our side. The correlation id finds it in the log."
    return problem_response({"type": "about:blank", "title": "Internal error", "status": 500, "detail": detail})


def add_handlers(app: FastAPI) -> None:
    """Let an app answer every error with problem details."""
    app.add_exception_handler(PunctualError, _on_punctual_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_unexpected_error)


async def _on_punctual_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, PunctualError):
        raise error
    return error_response(error)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    found = [{"field": ".".join(map(str, e["loc"])), "detail": str(e["msg"])} for e in error.errors()[:20]]
    detail = "; ".join(f"{e['field']}: {e['detail']}" for e in found[:3])
    members = {"type": "urn:punctual:problem:invalid-request", "title": "Invalid request", "status": 422}
    return problem_response({**members, "detail": detail, "errors": found})


async def _on_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 400:  # the framework's word for a body that it cannot read
        return error_response(InvalidRequest("The body is no JSON text.", hint="Send JSON in UTF-8."))
    words = _WORDS.get(error.status_code, "Request refused")
    headers = dict(error.headers or {})
    allowed = ""
    if error.status_code == 405:
        headers["Allow"] = _allowed(request)
        allowed = f"; allowed: {headers['Allow']}"
    path = request.url.path[:_SHOWN]
    detail = f"{request.method} {path}: {words.lower()}{allowed}. /docs lists what there is."
    slug = words.lower().replace(" ", "-")
    members = {"type": f"urn:punctual:problem:{slug}", "title": words, "status": error.status_code}
    return problem_response({**members, "detail": detail}, headers)


def _allowed(request: Request) -> str:
    """Return the methods of a path: the router itself names those of the first route that has it."""
    found: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.path_regex.match(request.url.path):
            found |= route.methods or set()
    return ", ".join(sorted(found))


async def _on_unexpected_error(request: Request, error: Exception) -> Response:
    # The framework raises the error again after this answer, so that the outermost layer logs it with its trace.
    return unexpected_response()
