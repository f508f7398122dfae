"""Who may call a route: every route names its scope, and one that does not is refused when it is made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from core.auth.principal import SCOPES, SELF
from core.errors import ConfigError, Forbidden, PunctualError
from core.logs import correlation_id
from core.service.body import read_body, read_large_body

if TYPE_CHECKING:
    from starlette.datastructures import State
    from starlette.types import Scope

    from core.auth import Principal

log = logging.getLogger("punctual.audit")

PUBLIC = "public"
_EXTENSION, _LIMIT, _AUDITED = "x-required-scopes", "x-max-body-bytes", "x-audited"
Endpoint = Callable[[Request], Awaitable[Response]]


def requires(*scopes: str, max_body_bytes: int | None = None, audited: bool = True, **openapi: Any) -> dict[str, Any]:
    """Return a route's ``openapi_extra``: any one of ``scopes`` is needed; ``admin`` always suffices.

    Parameters
    ----------
    *scopes : str
        Of ``predict``, ``read``, ``data``, ``train``, ``admin``; ``self`` for anybody logged in; or :data:`PUBLIC`
        alone, for no key at all.
    max_body_bytes : int, optional
        Largest body of this route, where it is another than ``PUNCTUAL_MAX_BODY_BYTES``.
    audited : bool
        Whether the audit log is told of a request that is not a GET; False where another record is kept of each.
    **openapi
        Other members of the OpenAPI operation.

    Raises
    ------
    ConfigError
        When a scope is none of these.
    """
    if not scopes or (scopes != (PUBLIC,) and not set(scopes) <= {*SCOPES, SELF}):
        raise ConfigError(f"{scopes!r} are no scopes.", hint=f"Use {', '.join(SCOPES)}, {SELF}, or PUBLIC alone.")
    security: list[dict[str, list[str]]] = [] if scopes == (PUBLIC,) else [{"bearer": []}, {"api_key": []}]
    limit = {} if max_body_bytes is None else {_LIMIT: max_body_bytes}
    recorded = {} if audited else {_AUDITED: False}
    return {_EXTENSION: list(scopes), "security": security, **limit, **recorded, **openapi}


def principal(request: Request) -> Principal:
    """Return who is calling; only where the route is not public."""
    found: Principal = request.scope["punctual.principal"]
    return found


class GuardedRoute(APIRoute):
    """A route that lets in whom its scope allows, and leaves an audit record of what it changed.

    Raises
    ------
    ConfigError
        When it is made without :func:`requires`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the framework's handler behind the guard."""
        extra = self.openapi_extra or {}
        scopes = extra.get(_EXTENSION)
        if not scopes:
            raise ConfigError(
                f"The route {self.path} does not say who may call it.", hint="Give it openapi_extra=requires(...)."
            )
        handler = bounded(super().get_route_handler(), extra.get(_LIMIT))
        audited = "GET" not in (self.methods or ()) and PUBLIC not in scopes and extra.get(_AUDITED, True)
        return guarded(handler, tuple(scopes), audited=audited, action=f"{'/'.join(self.methods or ())} {self.path}")


def bounded(handler: Endpoint, limit: int | None = None) -> Endpoint:
    """Let a handler see no more of a body than ``limit`` bytes, by default the service's own limit."""

    async def handle(request: Request) -> Response:
        usual = request.app.state.max_body_bytes
        if limit is None or limit <= usual:
            await read_body(request, usual if limit is None else limit)
        else:
            await read_large_body(request, limit)
        return await handler(request)

    return handle


def guarded(
    handler: Endpoint, scopes: tuple[str, ...], *, audited: bool = False, action: str = ""
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Put authentication, the key's rate limit, the scope check and, if wanted, the audit before a handler."""
    if scopes == (PUBLIC,):

        async def open_to_all(request: Request) -> Response:
            return await handler(request)

        return open_to_all

    wanted = frozenset(scopes)

    async def check(request: Request) -> Response:
        state: State = request.app.state
        scope = request.scope
        caller = state.guard.authenticate(_credentials(scope))
        scope["punctual.principal"] = caller
        await state.limiter.admit_key(caller)
        if wanted.isdisjoint(caller.scopes) and "admin" not in caller.scopes:
            raise Forbidden(
                f"This needs the scope {' or '.join(scopes)}; {caller.name} has {', '.join(sorted(caller.scopes))}.",
                hint="Change your password first." if caller.scopes == {SELF} else "Ask an administrator for more.",
            )
        if audited:
            return await _audited(handler, request, caller, action)
        return await handler(request)

    return check


def _credentials(scope: Scope) -> bytes | None:
    """Return what the client shows, as an Authorization header."""
    given: dict[bytes, bytes] = scope["punctual.given"]
    shown = given.get(b"authorization")
    if shown is None and (key := given.get(b"x-api-key")) is not None:
        return b"Bearer " + key
    return shown


async def _audited(handler: Endpoint, request: Request, caller: Principal, action: str) -> Response:
    """Run a handler and record what came of it; nothing is done that could not be recorded."""
    accounts = request.app.state.accounts
    await asyncio.to_thread(accounts.check)
    outcome = "failed"
    try:
        response = await handler(request)
        outcome = "done" if response.status_code < 400 else f"refused ({response.status_code})"
    except PunctualError as error:
        outcome = f"refused ({error.status})"
        raise
    except asyncio.CancelledError:  # what a thread has begun it ends, whoever waits
        outcome = "no answer in time, may have been done"
        raise
    finally:
        facts = {
            "actor": caller.name,
            "action": action,
            "target": request.url.path,
            "outcome": outcome,
            "correlation_id": correlation_id.get(),
            "address": request.scope.get("punctual.address", ""),
        }
        try:
            await asyncio.to_thread(lambda: accounts.audit(**facts))
        except PunctualError as error:  # the deed is done: the log keeps what the table could not
            log.error("audit record could not be stored", extra={**facts, "detail": str(error)})
    return response
