"""Conditions as text: what is written is what is read, and what is none is told in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.conditions import ALONE, OPERATORS, Condition, read_condition
from core.errors import InvalidRequest

NAMES = st.text(min_size=1, max_size=20).filter(lambda name: not any(f":{one}" in f"{name}:" for one in OPERATORS))


@given(NAMES, st.sampled_from(OPERATORS), st.text(max_size=40))
def test_a_condition_is_read_as_it_was_written(column: str, operator: str, value: str):
    condition = Condition(column, operator, "" if operator in ALONE else value)
    assert read_condition(str(condition)) == condition


def test_colons_belong_to_the_value_and_to_the_name():
    assert read_condition("at:>=:2024-03-01T00:00:00Z") == Condition("at", ">=", "2024-03-01T00:00:00Z")
    assert read_condition("at:utc:=::=:") == Condition("at:utc", "=", ":=:")
    assert read_condition("note:=:") == Condition("note", "=", "")
    assert read_condition("note:contains:a\nb") == Condition("note", "contains", "a\nb")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no condition. Write column:operator:value; the operators are =, !=,"),
        ("amount", "is no condition"),
        ("amount > 3", "is no condition"),
        ("amount:like:3", "is no condition"),
        (":=:3", "is no condition"),
        ("amount:=", "'=' needs a value after another colon"),
        ("amount:is missing:3", "'is missing' takes no value"),
        ("x" * 1000, "'" + "x" * 80 + "' is no condition"),
    ],
)
def test_what_is_no_condition_is_told_in_words(text: str, says: str):
    with pytest.raises(InvalidRequest) as error:
        read_condition(text)
    assert says in str(error.value)
