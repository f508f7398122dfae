"""What services answer, as their clients read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import ServiceUnavailable
from core.http import Answer


class Answered(BaseModel):
    """What a service says; members that a newer service adds are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)


class JobView(Answered):
    """A durable job as its service tells of it."""

    id: str
    kind: str
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: float = 0.0
    step: str | None = None
    actor: str = ""
    created_at: datetime | None = None
    ended_at: datetime | None = None
    result: Any = None
    error: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ("done", "failed", "cancelled")


class Prediction(Answered):
    """One prediction."""

    prediction_id: str
    label: str = Field(alias="class")
    probability: float
    model_version: str
    features_as_of: dict[str, datetime | None] = {}
    stale: list[str] = []


class Models(Answered):
    """The versions that the prediction service has at hand, and the one it serves."""

    champion: str | None
    serving: str | None = None
    models: list[dict[str, Any]] = []


Kind = TypeVar("Kind", bound=Answered)


def view(kind: type[Kind], answer: Answer) -> Kind:
    """Return an answer read as what it should be.

    Raises
    ------
    ServiceUnavailable
        When it is something else.
    """
    try:
        return kind.model_validate(answer.json())
    except ValidationError as error:
        raise strange(answer, error) from error


def strange(answer: Answer, error: Exception) -> ServiceUnavailable:
    """Return the error that says that an answer is not understood."""
    return ServiceUnavailable(
        f"The {answer.service} service answered in a way that is not understood: {error}.",
        hint="Is it of another version?",
    )
