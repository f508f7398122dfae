"""What clients of the monitoring service send, and what they get, as the API reference shows it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from core.registry import VERSION
from core.windows import as_utc

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:")
ReportId = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$", description="As GET /monitoring/drift lists it.")
]
Limit = Annotated[int, Query(ge=1, le=500)]
AlarmId = Annotated[int, Path(ge=1, le=2**31 - 1, description="As GET /monitoring/alarms lists it.")]


def _iso(value: Any) -> Any:
    # What is otherwise taken for a moment too is a number, of seconds since 1970.
    if isinstance(value, str) and _ISO.match(value):
        return value
    raise ValueError("is no moment in ISO 8601 form, such as 2024-03-01T00:00:00Z")


def _utc(value: datetime) -> datetime:
    try:
        return as_utc(value)
    except OverflowError as error:
        raise ValueError("lies beyond the years that there are") from error


Moment = Annotated[AwareDatetime, BeforeValidator(_iso), AfterValidator(_utc)]


class _Window(BaseModel):
    @model_validator(mode="after")
    def _in_order(self) -> Self:
        since, until = getattr(self, "since", None), getattr(self, "until", None)
        if since is not None and until is not None and since >= until:
            raise ValueError("until must come after since")
        return self


class TurnRequest(_Window):
    """A turn; empty for one over the last ``data.step`` before now."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{}, {"until": "2024-03-08T00:00:00Z", "act": False}]}
    )

    since: Moment | None = Field(None, description="Begin of the window, on the problem's clock.")
    until: Moment | None = Field(None, description="Its end, exclusive.")
    act: bool = Field(
        True, description="Whether it may retrain, promote and roll back; or look and raise alarms alone."
    )


class DriftRequest(_Window):
    """A drift test of what was predicted in a window."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"since": "2024-03-01T00:00:00Z", "until": "2024-03-08T00:00:00Z"}]},
    )

    since: Moment = Field(description="Begin of the window, on the problem's clock.")
    until: Moment = Field(description="Its end, exclusive.")
    version: str | None = Field(None, pattern=VERSION, description="The model version; by default the champion.")


class LoggedPrediction(BaseModel):
    """A prediction, and what came of it."""

    prediction_id: str = Field(description="GET /predictions/{id} of the prediction service traces it.")
    predicted_at: datetime = Field(description="On the problem's clock.")
    served_at: datetime = Field(description="On the machine's clock.")
    entity: dict[str, Any] = Field(description="Keys and inputs: what was sent, and what was looked up.")
    class_: str = Field(alias="class")
    probability: float
    model_version: str
    stale: list[str] = Field(description="Feature views that were older than they promise.")
    actor: str | None = Field(description="Who asked; null where that was not logged yet.")
    what_if: bool
    outcome: int | None = Field(description="The label, 0 or 1; null while it is not known, and for what-ifs.")


class Predictions(BaseModel):
    """The one that was served last first."""

    predictions: list[LoggedPrediction]


class BucketCount(BaseModel):
    """The predictions of one model version in one span of time."""

    start: datetime = Field(description="On the problem's clock, UTC.")
    end: datetime
    model_version: str
    predictions: int
    positives: int
    mean_probability: float
    stale: int = Field(description="Made with a view older than it promises.")
    missing: int = Field(description="Made without a value of at least one feature.")


class Bin(BaseModel):
    """Predictions whose probability lies from ``low`` to below ``high``; 1 is in the last."""

    low: float
    high: float
    predictions: int


class ActorCount(BaseModel):
    """The predictions that somebody asked for."""

    actor: str | None = Field(description="Null where that was not logged yet.")
    predictions: int


class Statistics(BaseModel):
    """How many predictions there were; all zeros where there were none."""

    total: int = Field(description="Of all that was asked for, what-ifs too unless they were left out.")
    what_if: int = Field(description="How many of these are what-ifs.")
    buckets: list[BucketCount] = Field(description="Those with any predictions, in the order of time and version.")
    probability: list[Bin]
    classes: dict[str, int]
    actors: list[ActorCount] = Field(description="Those who asked most, first; one hundred at most.")
