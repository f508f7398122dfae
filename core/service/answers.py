"""What routes answer where all goes well, for the API reference: its form, and an example.

Answers are neither made of these models nor checked against them, which would cost every request; the tests check each
answer that they get.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class Told(BaseModel):
    """What a route answers; its docstring is what the reference says of the answer.

    Attributes
    ----------
    example : dict
        One such answer.
    """

    example: ClassVar[dict[str, Any]] = {}


def answer(model: type[Told], example: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what a route's ``responses`` say of an answer in JSON, with the model's example or another one."""
    shown = model.example if example is None else example
    return {"model": model, "description": model.__doc__, "content": {"application/json": {"example": shown}}}


def text_answer(words: str, kind: str, example: str) -> dict[str, Any]:
    """Return what ``responses`` say of an answer in text of a media type."""
    return {"description": words, "content": {kind: {"schema": {"type": "string"}, "example": example}}}


def file_answer(words: str, kind: str) -> dict[str, Any]:
    """Return what ``responses`` say of a file of a media type that is no text."""
    return {"description": words, "content": {kind: {"schema": {"type": "string", "format": "binary"}}}}


class Live(Told):
    """The process is alive."""

    service: str
    live: bool

    example: ClassVar[dict[str, Any]] = {"service": "data", "live": True}


class Dependency(Told):
    """How something is that the service depends on, with facts about it."""

    model_config = ConfigDict(extra="allow")

    status: Literal["ok", "degraded", "error"] = Field(description="Only an error makes the service unavailable.")
    milliseconds: float = Field(description="How long the look at it took.")
    detail: str = Field("", description="What is not as it should be; left out where all is well.")


class Health(Told):
    """Whether the service is ready, and how each thing is that it depends on."""

    service: str
    status: Literal["ready", "unavailable"]
    live: bool
    dependencies: dict[str, Dependency]

    example: ClassVar[dict[str, Any]] = {
        "service": "data",
        "status": "ready",
        "live": True,
        "dependencies": {
            "database": {"status": "ok", "milliseconds": 0.52},
            "raw_data": {"status": "degraded", "milliseconds": 0.08, "detail": "Nothing was imported yet."},
        },
    }
    away: ClassVar[dict[str, Any]] = {
        **example,
        "status": "unavailable",
        "dependencies": {"database": {"status": "error", "milliseconds": 12.5, "detail": "It does not answer."}},
    }


class Move(Told):
    """One act on the roles: who put which version where, when, why, for how long."""

    id: int
    action: Literal["promote", "rollback", "request"]
    status: Literal["pending", "active", "ended", "refused"]
    version: str
    previous_version: str | None
    requested_by: str
    approved_by: str | None
    reasons: list[str]
    created_at: datetime
    ended_at: datetime | None

    example: ClassVar[dict[str, Any]] = {
        "id": 7,
        "action": "promote",
        "status": "active",
        "version": "2",
        "previous_version": "1",
        "requested_by": "ada",
        "approved_by": None,
        "reasons": ["better on the newest weeks"],
        "created_at": "2026-01-01T00:00:00Z",
        "ended_at": None,
    }
