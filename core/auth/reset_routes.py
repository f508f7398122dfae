"""Routes of links for new passwords: one for administrators, and two for who cannot log in."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from core.auth.answers import LinkAsked, PasswordChosen, ResetLink
from core.auth.documents import ByLink, Forgot, Name
from core.auth.postbox import Postbox
from core.auth.work import admitted, do
from core.service import PUBLIC, answer, json_response, principal, problems, requires


def add_reset_routes(app: FastAPI) -> None:
    """Add the routes, and the box that mails what is asked for.

    Raises
    ------
    ConfigError
        When the mail server of the settings is no address.
    """
    app.state.postbox = Postbox(app.state.settings)

    @app.post(
        "/users/{name}/reset-link",
        tags=["users"],
        summary="Make a link with which a user chooses a new password, once; it is shown once",
        status_code=201,
        openapi_extra=requires("admin"),
        responses={201: answer(ResetLink), **problems(None, 401, 403, 404, 409, 422, 429, 503)},
    )
    async def make_link(request: Request, name: Name) -> Response:
        by = principal(request).name
        return json_response(await do(request, lambda a: a.resets.issue(name, by=by), changes=False), 201)

    @app.post(
        "/auth/forgot",
        tags=["log-in"],
        summary="Ask for a link by mail; the answer is the same whether there is such a user",
        status_code=202,
        openapi_extra=requires(PUBLIC),
        responses={202: answer(LinkAsked), **problems(None, 422, 429, 503)},
    )
    async def forgot(request: Request, body: Forgot) -> Response:
        address = await admitted(request)
        request.app.state.postbox.put(request.app.state.accounts, body.user, address)
        return json_response({"asked": True}, 202)

    @app.post(
        "/auth/reset",
        tags=["log-in"],
        summary="Choose a new password by a link: it is used up, and all sessions end",
        openapi_extra=requires(PUBLIC),
        responses=problems(PasswordChosen, 403, 422, 429, 503),
    )
    async def reset(request: Request, body: ByLink) -> Response:
        address = await admitted(request)
        name = await do(request, lambda a: a.resets.use(body.token, body.password, address))
        return json_response({"name": name, "reset": True})
