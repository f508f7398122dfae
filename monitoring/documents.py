"""What clients of the monitoring service send, as the API reference shows it."""

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
