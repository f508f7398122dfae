"""The routes of promotion, approval, rollback and the ledger of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response

from core.service import answer, json_response, principal, problems, requires
from core.service.answers import Move
from training.answers import MoveRequested, Moves
from training.documents import Reason, TrainRequest, VersionPath
from training.ledger import Ledger, as_dict
from training.promotion import ANY, Promotions

_READ = requires("train", "read")
_CHANGE = requires("train")


def add_promotion_routes(app: FastAPI, promotions: Callable[[], Promotions], moves: Ledger) -> None:
    """Add the routes to the training service's app.

    Parameters
    ----------
    app : FastAPI
        The app.
    promotions : callable
        Gives what moves the roles; asked at each call, since MLflow may be away when the service starts.
    moves : Ledger
        Where they are written down.
    """

    def asked_by(request: Request, body: Reason) -> Promotions:
        return promotions().quiet() if quiet(request, body) else promotions()

    @app.post(
        "/training/models/{version}/promote",
        tags=["promotion"],
        summary="Make a version the champion, or ask for it where a second person must agree",
        responses={202: answer(MoveRequested), **problems(Move, 404, 409, 422, 503)},
        openapi_extra=_CHANGE,
    )
    def promote(request: Request, version: VersionPath, body: Reason) -> Response:
        mine, expected = asked_by(request, body), body.expected or ANY
        row = mine.propose(version, [body.reason], actor=person(request), expected=expected)
        return json_response(as_dict(row), 200 if row.status == "active" else 202)

    @app.post(
        "/training/models/{version}/approve",
        tags=["promotion"],
        summary="Agree to another person's request; it is carried out at once",
        responses=problems(Move, 403, 404, 409, 422, 503),
        openapi_extra=_CHANGE,
    )
    def approve(request: Request, version: VersionPath) -> Response:
        return json_response(as_dict(promotions().approve(version, actor=person(request))))

    @app.post(
        "/training/rollback",
        tags=["promotion"],
        summary="Make the previous champion the champion again, at once",
        responses=problems(Move, 409, 422, 503),
        openapi_extra=_CHANGE,
    )
    def rollback(request: Request, body: Reason) -> Response:
        mine, expected = asked_by(request, body), body.expected or ANY
        return json_response(as_dict(mine.rollback([body.reason], actor=person(request), expected=expected)))

    @app.get(
        "/training/promotions",
        tags=["promotion"],
        summary="The ledger: who put which version where, when, why, for how long; newest first",
        responses=problems(Moves, 422, 503),
        openapi_extra=_READ,
    )
    def ledger(
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        before: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Rows older than this id.")] = None,
    ) -> Response:
        return json_response({"promotions": [as_dict(row) for row in moves.history(limit, before)]})


def quiet(request: Request, body: Reason | TrainRequest) -> bool:
    """Return whether a program that asks tells people itself, as monitoring does, with the decision behind it."""
    return principal(request).kind == "key" and not body.notify


def person(request: Request) -> str:
    """Return who answers for a request: two keys of one person are one person."""
    caller = principal(request)
    return caller.owner or caller.name
