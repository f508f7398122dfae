"""The app every service is made of: correlation ids, problem details, limits, health, and safe headers.

Written as plain ASGI rather than framework middleware: it stands in the path of every prediction.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import BatchTooLarge, PunctualError, Unavailable
from core.logs import correlation_id

log = logging.getLogger("punctual.service")

Check = Callable[[], Awaitable[Mapping[str, Any]]]
_ID = re.compile(rb"^[A-Za-z0-9._-]{8,64}$")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
_RETRY_SECONDS = "1"


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return ``content`` as JSON; times become ISO 8601 UTC, NaN becomes null."""
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY, default=str)
    return Response(body, status, dict(headers or {}), "application/json")


def problem_response(members: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return RFC 9457 problem details; ``status`` among the members is the answer's status."""
    content = {**members, "correlation_id": correlation_id.get()}
    body = orjson.dumps(content, default=str)
    return Response(body, int(members["status"]), dict(headers or {}), "application/problem+json")


def create_app(
    title: str,
    *,
    version: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    checks: Mapping[str, Check],
    max_body_bytes: int,
    description: str = "",
) -> FastAPI:
    """Make a service: add routes to what this returns, then wrap it with :func:`harden`.

    Parameters
    ----------
    title, version, description : str
        What the API reference says.
    lifespan : callable
        Starts and stops what the service holds.
    checks : mapping of str to async callable
        Each dependency's check: returns facts about it, or raises a ``PunctualError``.
    max_body_bytes : int
        Largest request body.
    """
    app = FastAPI(title=title, version=version, description=description, lifespan=lifespan, redirect_slashes=False)
    app.state.max_body_bytes = max_body_bytes
    app.add_exception_handler(PunctualError, _on_punctual_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_unexpected_error)

    @app.get("/health", tags=["operations"], summary="Is the service ready, and what does it depend on?")
    async def health() -> Response:
        found: dict[str, Any] = {}
        for name, check in checks.items():
            found[name] = await _checked(check)
        ready = all(dependency["status"] == "ok" for dependency in found.values())
        content = {"status": "ready" if ready else "unavailable", "live": True, "dependencies": found}
        return json_response(content, 200 if ready else 503)

    return app


async def _checked(check: Check) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        facts: Mapping[str, Any] = await check()
        status = "ok"
    except PunctualError as error:
        facts, status = {"detail": str(error)}, "error"
    return {"status": status, "milliseconds": round((time.perf_counter() - start) * 1000, 2), **facts}


async def _on_punctual_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, PunctualError):
        raise error
    if error.status >= 500:
        log.warning("request failed", extra={"error": type(error).__name__, "detail": str(error)})
    headers = {"retry-after": _RETRY_SECONDS} if isinstance(error, Unavailable) else {}
    return problem_response(error.problem(), headers)


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
    words = {404: "Not found", 405: "Method not allowed"}.get(error.status_code, "Request refused")
    allowed = f"; allowed: {error.headers['Allow']}" if error.headers and "Allow" in error.headers else ""
    detail = f"{request.method} {request.url.path}: {words.lower()}{allowed}. /docs lists what there is."
    slug = words.lower().replace(" ", "-")
    members = {"type": f"urn:punctual:problem:{slug}", "title": words, "status": error.status_code}
    return problem_response({**members, "detail": detail}, error.headers)


async def _on_unexpected_error(request: Request, error: Exception) -> Response:
    # The framework raises the error again after this answer, so that Harden logs it with its trace.
    detail = "Something went wrong on our side. The correlation id finds it in the log."
    return problem_response({"type": "about:blank", "title": "Internal error", "status": 500, "detail": detail})


async def read_body(request: Request) -> bytes:
    """Return the request's body, refusing it as soon as it is larger than the service allows.

    Raises
    ------
    BatchTooLarge
        With the limit in its message.
    """
    limit: int = request.app.state.max_body_bytes
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    stream: AsyncIterator[bytes] = request.stream()
    async for part in stream:
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> BatchTooLarge:
    return BatchTooLarge(
        f"The body is larger than {limit} bytes.", hint="Send fewer entities, or raise PUNCTUAL_MAX_BODY_BYTES."
    )


class Harden:
    """The outermost ASGI layer: correlation id, safe headers, one log line, and no stack trace to a client.

    Parameters
    ----------
    app : ASGI app
        What :func:`create_app` made.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _given_id(scope) or secrets.token_hex(8).encode()
        token = correlation_id.set(request_id.decode())
        start = time.perf_counter()
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_HEADERS, (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except ClientDisconnect:
            log.info("the client went away while sending", extra={"path": scope["path"]})
        except Exception:  # answered already, by _on_unexpected_error; the client never sees the trace
            log.exception("unexpected error", extra={"path": scope["path"]})
        finally:
            level = logging.INFO if status >= 400 else logging.DEBUG
            if log.isEnabledFor(level):
                facts = {"method": scope["method"], "path": scope["path"], "status": status}
                facts["milliseconds"] = round((time.perf_counter() - start) * 1000, 2)
                log.log(level, "request", extra=facts)
            correlation_id.reset(token)


def _given_id(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return bytes(value) if _ID.match(value) else None
    return None
