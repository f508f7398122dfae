"""Conditions on the rows of a table, as they are written in an address: ``column:operator:value``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from core.errors import InvalidRequest

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "contains", "is missing", "is not missing"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)
# What these ask, a column answers by itself.
ALONE: tuple[Operator, ...] = ("is missing", "is not missing")
MAX_CONDITIONS = 20
MAX_CHARACTERS = 1000
_WRITTEN = re.compile(rf"(.+?):({'|'.join(map(re.escape, OPERATORS))})(?::(.*))?", re.DOTALL)
_SHOWN = 80


@dataclass(frozen=True)
class Condition:
    """What a row must fulfil.

    Attributes
    ----------
    column : str
        Of the table. A name that itself holds ``:operator:`` cannot be asked for.
    operator : str
        One of :data:`OPERATORS`.
    value : str
        What to compare with, as text; empty for ``is missing`` and ``is not missing``.
    """

    column: str
    operator: Operator
    value: str = ""

    def __str__(self) -> str:
        asked = f"{self.column}:{self.operator}"
        return asked if self.operator in ALONE else f"{asked}:{self.value}"


def read_condition(text: str) -> Condition:
    """Return the condition that a text is: what ``str`` of it gives.

    Raises
    ------
    InvalidRequest
        When it has no operator, or one with a value too many or too few.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise InvalidRequest(
            f"{text[:_SHOWN]!r} is no condition.",
            hint=f"Write column:operator:value; the operators are {', '.join(OPERATORS)}.",
        )
    column, operator, value = found[1], cast("Operator", found[2]), found[3]
    if (value is None) != (operator in ALONE):
        wanted = "takes no value" if operator in ALONE else "needs a value after another colon"
        raise InvalidRequest(f"{text[:_SHOWN]!r} is no condition: {operator!r} {wanted}.")
    return Condition(column, operator, value or "")
