"""What the data service's routes take."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ImportRequest(_Body):
    """The window to import; without one, the next."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{}, {"since": "2024-03-01T00:00:00Z", "until": "2024-03-08T00:00:00Z"}]},
    )

    since: AwareDatetime | None = Field(None, description="Begin, inclusive, whole seconds.")
    until: AwareDatetime | None = Field(None, description="End, exclusive.")

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if (self.since is None) != (self.until is None):
            raise ValueError("since and until go together")
        if self.since is not None and self.until is not None:
            if self.since >= self.until:
                raise ValueError("until must come after since")
            if self.since.microsecond or self.until.microsecond:
                raise ValueError("a window begins and ends at whole seconds")
        return self


class MaterializeRequest(_Body):
    """The feature views to write; without any, all."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}, {"views": ["customer_payments"]}]})

    views: Annotated[list[Name], Field(min_length=1, max_length=100)] | None = None


class Nothing(_Body):
    """An empty object, or no body at all."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})


class RollbackRequest(_Body):
    """Why the previous champion should be back."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "complaints about last week's version"}]}
    )

    reason: Annotated[str, Field(min_length=1, max_length=500)]
