"""The routes that look back: predictions one by one, and how many there were.

Who may change data or models sees what everybody asked. Anybody else sees what they asked themselves, and nothing of
others, whatever they send.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Query, Request, Response

from core.errors import Forbidden
from core.registry import VERSION
from core.service import json_response, principal, problems, requires
from monitoring.answers import Predictions, Statistics
from monitoring.documents import Limit, Moment

if TYPE_CHECKING:
    from core.auth import Principal
    from core.repo import FeatureRepo

from monitoring.statistics import Bucket

_LOOK = requires("predict", "read", "data", "train")
_Since = Annotated[Moment | None, Query(description="Predicted then or later, on the problem's clock.")]
_Until = Annotated[Moment | None, Query(description="Predicted before that, on the problem's clock.")]
_WhatIf = Annotated[bool | None, Query(description="Only what-ifs, or none of them; by default both.")]
_Text = Query(min_length=1, max_length=200)


def add_history_routes(app: FastAPI, repo: FeatureRepo) -> None:
    """Add ``/monitoring/predictions`` and ``/monitoring/statistics``."""
    tags: list[str | Enum] = ["history"]

    @app.get(
        "/monitoring/predictions",
        tags=tags,
        summary="Predictions of the log, the one that was served last first, with what came of each",
        responses=problems(Predictions, 403, 422, 503),
        openapi_extra=_LOOK,
    )
    def predictions(
        request: Request,
        since: _Since = None,
        until: _Until = None,
        label: Annotated[str | None, Query(alias="class", min_length=1, max_length=200)] = None,
        version: Annotated[str | None, Query(pattern=VERSION)] = None,
        entity: Annotated[str | None, Query(min_length=1, max_length=200, description="The id of an entity.")] = None,
        what_if: _WhatIf = None,
        actor: Annotated[str | None, _Text] = None,
        limit: Limit = 100,
    ) -> Response:
        from monitoring.history import Which, newest

        which = Which(
            since=since,
            until=until,
            label=label,
            version=version,
            entity=entity,
            what_if=what_if,
            actor=visible(principal(request), actor),
        )
        return json_response({"predictions": newest(repo, which, limit)})

    @app.get(
        "/monitoring/statistics",
        tags=tags,
        summary="How many predictions there were, by time and version, probability, class, and who asked",
        responses=problems(Statistics, 422, 503),
        openapi_extra=_LOOK,
    )
    def counts(
        request: Request,
        since: _Since = None,
        until: _Until = None,
        bucket: Bucket = "day",
        what_if: _WhatIf = None,
    ) -> Response:
        from monitoring.history import Which
        from monitoring.statistics import statistics

        which = Which(since=since, until=until, what_if=what_if, actor=visible(principal(request), None))
        return json_response(statistics(repo, which, bucket))


def visible(caller: Principal, actor: str | None) -> str | None:
    """Return whose predictions somebody sees who asks for those of ``actor``; None is everybody's.

    Raises
    ------
    Forbidden
        When they ask for those of somebody else, and may not.
    """
    if caller.confined_to is None:
        return actor
    if actor not in (None, caller.name):
        raise Forbidden(
            "What others asked is shown to those with the scope data or train.", hint="Leave actor out for your own."
        )
    return caller.confined_to
