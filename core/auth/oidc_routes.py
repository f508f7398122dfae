"""The route that exchanges an identity of an OIDC provider for a session token."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from core.auth.answers import Session
from core.auth.documents import Identity
from core.auth.work import admitted, do
from core.service import PUBLIC, json_response, problems, requires


def add_oidc_routes(app: FastAPI) -> None:
    """Add the route; where no provider is configured, it says so."""

    @app.post(
        "/auth/oidc",
        tags=["log-in"],
        summary="Get a session token for an ID token of the configured provider, once",
        openapi_extra=requires(PUBLIC),
        responses=problems(Session, 401, 404, 422, 429, 503),
    )
    async def exchange(request: Request, body: Identity) -> Response:
        address = await admitted(request)
        return json_response(await do(request, lambda a: a.oidc.log_in(body.id_token, body.nonce, address)))
