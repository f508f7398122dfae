"""What the data service's routes take."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.auth.documents import Moment
from core.conditions import MAX_CHARACTERS, MAX_CONDITIONS, OPERATORS
from core.registry import VERSION

Name = Annotated[str, Field(min_length=1, max_length=200)]
Table = Annotated[str, Query(max_length=200, description="A raw table, or a feature view.")]
Columns = Annotated[list[str] | None, Query(max_length=200, description="Only these.")]
Where = Annotated[
    list[Annotated[str, Field(max_length=MAX_CHARACTERS)]] | None,
    Query(
        max_length=MAX_CONDITIONS,
        description=(
            "Only rows that fulfil all of these, each written column:operator:value. "
            f"Operators: {', '.join(OPERATORS)}; the last two stand without a value. "
            "A value is read as the column's type, times without a zone as UTC; contains looks at the text of a value, "
            "upper and lower case alike. What is missing fulfils 'is missing' alone."
        ),
        examples=[["amount:>=:100", "region:contains:nor", "known_at:<:2024-03-01T00:00:00Z", "amount:is not missing"]],
    ),
]
Sort = Annotated[str | None, Query(max_length=200, description="The column to sort by; what is missing comes last.")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ImportRequest(_Body):
    """The window to import; without one, the next."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{}, {"since": "2024-03-01T00:00:00Z", "until": "2024-03-08T00:00:00Z"}]},
    )

    since: Moment | None = Field(None, description="Begin, inclusive, whole seconds.")
    until: Moment | None = Field(None, description="End, exclusive.")

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
        extra="forbid",
        json_schema_extra={"examples": [{"reason": "complaints about last week's version", "expected": "7"}]},
    )

    # The training service keeps 500 characters, with who asked for it among them.
    reason: Annotated[str, Field(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f]+$")]
    # Asked twice, a rollback undoes itself: who names the champion that is to go may ask again.
    expected: Annotated[
        str | None,
        Field(pattern=VERSION, description="The champion that is to go: a 409 where it is another by now."),
    ] = None
