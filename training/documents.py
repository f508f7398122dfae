"""What clients of the training service send, as the API reference shows it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from core.auth.documents import Moment
from core.jobs import KEY
from core.registry import VERSION

VersionPath = Annotated[str, Path(pattern=VERSION, examples=["2"], description="A registered version's number.")]
_Notify = Annotated[
    bool, Field(description="False from a program that tells people itself; what a person does is told in any case.")
]


class TrainRequest(BaseModel):
    """A training run; empty for the one that params.yaml and problem.yaml describe."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"candidates": ["catboost"], "overrides": {"catboost": {"depth": 8}}, "promote": False}]
        },
    )

    candidates: list[str] | None = Field(None, description="Candidates to train instead of the problem's.")
    overrides: dict[str, dict[str, int | float]] = Field({}, description="Candidate → parameter → value; see /options.")
    since: Moment | None = Field(None, description="Learn from moments from here on.")
    until: Moment | None = Field(None, description="Learn from moments before this.")
    promote: bool = Field(True, description="Whether the gate may promote what passes it.")
    notify: _Notify = True
    idempotency_key: str | None = Field(None, pattern=KEY, description="As the header Idempotency-Key.")


class Reason(BaseModel):
    """Why; kept in the ledger."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "better on the newest weeks"}]}
    )

    reason: str = Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")
    expected: str | None = Field(
        None, pattern=VERSION, description="The champion it was decided against: a 409 where it is another by now."
    )
    notify: _Notify = True
