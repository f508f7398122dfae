"""The outermost layer of a service, plain ASGI because every prediction passes it.

In order: who asks (address, correlation id), by which name (trusted hosts), how often (limit by address), for how long
until the answer begins (timeout; core.protocol sees to its end); around all of it safe headers, one log line, metrics,
and no stack trace to a client.
"""

from __future__ import annotations

import logging
import random
import re
import time
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from core.addresses import client_address, host_name
from core.errors import InvalidRequest, PunctualError, TimedOut
from core.logs import correlation_id
from core.pieces import PIECE, send_in_pieces
from core.service.access import Endpoint, bounded, guarded
from core.service.deadlines import Deadlines
from core.service.problems import error_response, unexpected_response
from core.service.reference import PAGE_POLICY

log = logging.getLogger("punctual.service")

_random = random.Random()  # noqa: S311 - an id that finds a request in the logs is no secret
_ID = re.compile(rb"^[A-Za-z0-9._-]{8,64}$")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_CSP = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
UNMATCHED = "unmatched"
_WANTED = frozenset(
    (b"x-request-id", b"authorization", b"x-api-key", b"host", b"origin", b"x-forwarded-for", b"x-forwarded-proto")
)


def harden(app: FastAPI, direct: dict[tuple[str, str], tuple[str, Endpoint]] | None = None) -> Harden:
    """Put a service behind its safe front.

    Parameters
    ----------
    app : FastAPI
        What :func:`core.service.create_app` made, with its routes.
    direct : dict, optional
        ``(method, path) -> (scope, endpoint)`` of routes that are answered without the framework's machinery, for the
        one route where that counts. The route must be there in ``app`` too, for the API reference.
    """
    return Harden(app, direct or {})


class Harden:
    """See :func:`harden`."""

    def __init__(self, app: FastAPI, direct: dict[tuple[str, str], tuple[str, Endpoint]]) -> None:
        settings = app.state.settings
        self.app = app
        self._direct = {route: guarded(bounded(endpoint), (scope,)) for route, (scope, endpoint) in direct.items()}
        self._pages: CORSMiddleware | None = None  # answers pages of other origins
        if settings.cors_origins:
            self._pages = CORSMiddleware(
                app,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST", "PATCH", "DELETE"],
                allow_headers=["authorization", "content-type", "idempotency-key", "x-api-key", "x-request-id"],
                expose_headers=["content-disposition", "location", "retry-after", "www-authenticate", "x-request-id"],
            )
        self._hosts = {*settings.trusted_hosts, settings.host}
        self._any_host = "*" in self._hosts
        self._good_hosts: set[bytes] = set()
        self._proxies = frozenset(settings.trusted_proxies)
        self._https = settings.tls_cert is not None
        self._timeout = settings.request_timeout
        self._deadlines = Deadlines(settings.request_timeout)
        self._metrics = app.state.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        given = {name: value for name, value in scope["headers"] if name in _WANTED}
        request_id = given.get(b"x-request-id", b"")
        if not _ID.fullmatch(request_id):
            request_id = b"%016x" % _random.getrandbits(64)
        token = correlation_id.set(request_id.decode())
        client = scope.get("client")
        address = client[0] if client else ""
        https = self._https
        if address in self._proxies:
            forwarded = given.get(b"x-forwarded-for", b"").decode("latin-1")
            address = client_address(forwarded, self._proxies) or address
            https = https or given.get(b"x-forwarded-proto") == b"https"
        scope["punctual.address"] = address
        scope["punctual.given"] = given
        path = scope["path"]
        if path.startswith("/v1/"):
            path = scope["path"] = path[3:]
            scope["raw_path"] = scope.get("raw_path", b"/v1")[3:]
        headers = [*_HEADERS, (b"x-request-id", request_id)]
        headers.append(PAGE_POLICY if path == "/docs" else _CSP)
        if https:
            headers.append(_HSTS)
        status = 0
        deadline = scope["punctual.deadline"] = self._deadlines.begin()

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                deadline.lift()
                message["headers"] = [*message["headers"], *headers]
            elif len(message.get("body", b"")) > PIECE:
                await send_in_pieces(send, message)
                return
            await send(message)

        self._metrics.begun()
        try:
            await self._answer(scope, receive, send_marked, path, given.get(b"host", b""), address)
        except ClientDisconnect:
            log.info("the client went away while sending", extra={"route": self._route(scope, path)})
        except PunctualError as error:
            if status == 0:
                await self._refuse(error_response(error), scope, receive, send_marked)
        except Exception:  # the client never sees the trace
            log.exception("unexpected error", extra={"route": self._route(scope, path)})
            if status == 0:
                await self._refuse(unexpected_response(), scope, receive, send_marked)
        finally:
            seconds = time.perf_counter() - start
            self._metrics.observe(scope["method"], self._route(scope, path), status, seconds)
            level = logging.INFO if status >= 400 or self._is_told(scope, path) else logging.DEBUG
            if log.isEnabledFor(level):
                log.log(level, "request", extra=self._facts(scope, path, status, seconds))
            correlation_id.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, path: str, host: bytes, address: str) -> None:
        if not self._any_host and host not in self._good_hosts:
            self._check_host(host, path)
        if not path.startswith("/health"):  # a probe must see how we are, whoever else asks how often
            await self.app.state.limiter.admit_address(address)
        pages = self._pages
        if pages is not None and b"origin" not in scope["punctual.given"]:
            pages = None
        endpoint = self._direct.get((scope["method"], path))
        try:
            with scope["punctual.deadline"]:
                if pages is not None:
                    await pages(scope, receive, send)
                elif endpoint is None:
                    await self.app(scope, receive, send)
                else:
                    scope["app"] = self.app
                    response = await endpoint(Request(scope, receive, send))
                    await response(scope, receive, send)
        except TimeoutError as error:
            raise TimedOut(
                f"No answer within {self._timeout:g} s.",
                hint="Ask for less at once, or raise PUNCTUAL_REQUEST_TIMEOUT.",
            ) from error

    async def _refuse(self, answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what no layer further in has sent, so that a page of an allowed origin can read it too."""
        if self._pages is not None and b"origin" in scope["punctual.given"]:
            send = partial(self._pages.send, send=send, request_headers=Headers(scope=scope))
        await answer(scope, receive, send)

    def _check_host(self, host: bytes, path: str) -> None:
        """Refuse a request by a name that is not ours: a page elsewhere may have had its name point here.

        Raises
        ------
        InvalidRequest
            When the host is not trusted.
        """
        name = host_name(host.decode("latin-1"))
        if name in self._hosts:
            if len(self._good_hosts) < 100:
                self._good_hosts.add(host)
        elif not path.startswith("/health"):  # probes name the address of the machine they run on
            raise InvalidRequest(
                f"The host {name[:100]!r} is not served here.", hint="Add it to PUNCTUAL_TRUSTED_HOSTS if it should be."
            )

    def _route(self, scope: Scope, path: str) -> str:
        """Return the route's template: metrics must not have a label that a client can invent."""
        if (scope["method"], path) in self._direct:
            return path
        return str(getattr(scope.get("route"), "path", UNMATCHED))

    def _is_told(self, scope: Scope, path: str) -> bool:
        """Say whether a request that went well gets its line: not a prediction, which has its own log, nor a probe."""
        return (scope["method"], path) not in self._direct and not path.startswith(("/health", "/metrics"))

    def _facts(self, scope: Scope, path: str, status: int, seconds: float) -> dict[str, Any]:
        # No query, no body, and no ids in the path: they may be somebody's.
        caller = scope.get("punctual.principal")
        return {
            "method": scope["method"],
            "route": self._route(scope, path),
            "status": status,
            "milliseconds": round(seconds * 1000, 2),
            "address": scope["punctual.address"],
            "caller": caller.name if caller else None,
        }
