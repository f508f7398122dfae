"""The pieces of pages that are no more than functions."""

from __future__ import annotations

import csv
import io
import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from feast.value_type import ValueType
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequest, ServiceUnavailable
from dashboard.parts import explain, marks, words
from dashboard.parts.contract import Field, changes, read_contract
from dashboard.parts.explain import top
from dashboard.parts.periods import window
from dashboard.parts.tables import as_csv, matching
from serving.documents import request_body
from serving.resolve import Needs

MOMENT = datetime(2024, 3, 1, 12, tzinfo=UTC)


def document(types: dict[str, ValueType], lookups: dict[str, str]) -> dict[str, Any]:
    """Return what the prediction service says of itself for a problem."""
    needs = Needs(None, None, (next(iter(types)),), types, lookups, ())  # type: ignore[arg-type]
    paths = {"/predict": {"post": {"requestBody": request_body(needs)}}}
    return {"info": {"title": "punctual: Will it rain?"}, "paths": paths}


def test_the_fields_of_any_problem_are_read_from_the_service_s_own_reference():
    types = {
        "station": ValueType.STRING,
        "zone": ValueType.INT64,
        "height": ValueType.DOUBLE,
        "manned": ValueType.BOOL,
        "asked_for": ValueType.UNIX_TIMESTAMP,
    }
    contract = read_contract(document(types, {"zone": "stations:zone", "height": "stations:height"}))
    assert contract.title == "Will it rain?"
    assert contract.key == Field("station", "text", required=True)
    assert contract.inputs == (
        Field("zone", "integer", False, "stations", "zone"),
        Field("height", "number", False, "stations", "height"),
        Field("manned", "boolean", required=True),
        Field("asked_for", "moment", required=True),
    )
    assert contract.home == "stations"


@pytest.mark.parametrize("broken", [{}, {"paths": {}}, {"info": {}, "paths": {"/predict": {"post": {}}}}])
def test_a_service_that_does_not_say_is_told_in_words(broken: dict[str, Any]):
    with pytest.raises(ServiceUnavailable, match="does not say"):
        read_contract(broken)
    nothing_applied = {"info": {"title": "t"}, "paths": {"/predict": {"post": {"requestBody": request_body(None)}}}}
    with pytest.raises(ServiceUnavailable, match="does not say"):
        read_contract(nothing_applied)


def test_an_id_is_read_as_its_type():
    assert Field("loan_id", "integer").read(" 5901 ") == 5901
    assert Field("flight_id", "text").read(" AA1 ") == "AA1"
    with pytest.raises(InvalidRequest, match=r"loan_id is a whole number, got 'x1'"):
        Field("loan_id", "integer").read("x1")


def test_only_what_was_changed_is_sent():
    before = {"amount": 10.0, "region": "north", "due": "2024-03-01T12:00:00Z", "rush": True}
    same = {"amount": 10.0, "region": "north", "due": MOMENT, "rush": True}
    assert changes(before, same) == {}
    assert changes(before, {**same, "amount": None, "region": ""}) == {}, "emptied: as the store knows it"
    assert changes(before, {**same, "amount": 0.0, "rush": False}) == {"amount": 0.0, "rush": False}
    later = datetime(2024, 3, 2, tzinfo=UTC)
    assert changes(before, {**same, "due": later}) == {"due": "2024-03-02T00:00:00+00:00"}
    assert changes({}, {"region": "south"}) == {"region": "south"}


def test_a_card_says_where_a_value_lies_and_runs_nothing():
    card = marks.fact("missed_30d", 3, [0, 1, 2, 3, 4, 5, 6, None])
    assert "higher than 50% of 7 rows" in card
    assert 'aria-label="missed_30d is 3, higher than 50% of 7 rows"' in card
    assert "as 25% of 4 rows" in marks.fact("region", "north", ["north", "south", "west", "west"])
    assert "missing, as in 50% of 2 rows" in marks.fact("amount", None, [1.5, None])
    assert "as every row" in marks.fact("constant", 1, [1, 1])
    assert "<script>" not in marks.facts([marks.fact("<script>", "<script>", ["<script>"])])
    marks.fact("far", 1e300, [0.0, 1.0])  # far outside of what was seen


def test_a_feature_of_two_values_shows_their_shares():
    card = marks.fact("airborne", 0, [0, 1, 1, 1, None])
    assert 'aria-label="airborne is 0, as 25% of 4 rows"' in card
    assert '<span>0</span><i class="own" style="width: 25.0%"></i><span>25%</span>' in card
    assert '<span>1</span><i style="width: 75.0%"></i><span>75%</span>' in card
    assert "higher than" not in card
    card = marks.fact("rush", True, [False, False])
    assert "as none of 2 rows" in card
    assert '<span>yes</span><i class="own" style="width: 0.0%">' in card
    assert "higher than" in marks.fact("missed_30d", 2, [0, 1, 1]), "a count that happens to be small is a number"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        *((0.076923, "0.07692"), (12.983, "12.98"), (1023.2, "1,023"), (-2.9565, "-2.957"), (9999.6, "10,000")),
        *((0.0, "0"), (4, "4"), (1234567, "1,234,567"), (True, "yes"), (None, "-"), (1e300, "1e+300")),
    ],
)
def test_a_drawing_has_room_for_four_digits(given: Any, says: str):
    assert marks.short(given) == says


@given(st.floats(allow_nan=False, allow_infinity=False), st.lists(st.floats(-1e6, 1e6), max_size=30))
def test_a_card_can_be_drawn_for_any_numbers(value: float, others: list[float]):
    card = marks.fact("x", value, others)
    assert card.count("<div") == card.count("</div>")
    assert "nan" not in card


@given(st.floats(0, 1))
def test_any_probability_can_be_read(probability: float):
    assert words.share(probability).endswith("%")
    assert 'role="img"' in marks.odds(probability, 0.5, "so much")


@pytest.mark.parametrize(
    ("seconds", "says"), [(None, "never"), (0.2, "just now"), (61, "1 minute"), (7200, "2 hours"), (90_000, "1 day")]
)
def test_ages_are_read_in_their_largest_unit(seconds: float | None, says: str):
    assert words.age(seconds) == says


def test_small_contributions_are_one_bar():
    terms = [{"feature": f"f{i}", "value": i, "contribution": 1.0 / (i + 1)} for i in range(6)]
    names, values = top(terms, most=4)
    assert names == ["f0 = 0", "f1 = 1", "f2 = 2", "f3 = 3", "2 others"]
    assert sum(values) == pytest.approx(sum(t["contribution"] for t in terms))


def explanation(count: int, base: float) -> dict[str, Any]:
    terms = [{"feature": "<b>f</b>" * 9, "value": i / 7, "contribution": (-1) ** i / (i + 1)} for i in range(count)]
    score = base + sum(term["contribution"] for term in terms)
    about = {"method": "SHAP values of CatBoost", "scale": "log-odds", "raw_probability": 1 / (1 + math.exp(-score))}
    return {**about, "base_value": base, "raw_score": score, "contributions": terms}


@given(st.integers(1, 30), st.floats(-30, 30))
def test_the_sum_that_is_told_is_right_as_it_is_written(count: int, base: float):
    told = explain.said(explanation(count, base), ("on time", "late")).replace(r"\-", "-")
    found = re.search(
        r"the score is (\S+), or (\S+) late\. The bars add (\S+) to it, which makes (\S+), or (\S+) late", told
    )
    assert found
    start, added, end = (Decimal(found[i]) for i in (1, 3, 4))
    assert start + added == end
    assert float(added) == pytest.approx(sum(top(explanation(count, base)["contributions"])[1]), abs=0.0011)
    assert ("the pale one" in told) == (count > 12)


def test_what_is_no_single_feature_is_the_last_bar_and_pale():
    drawn = explain.figure(explanation(20, -1.0), ("<i>no</i>", "yes"))
    assert list(drawn.data[0].marker.opacity) == [1.0] * 12 + [0.4]
    assert drawn.layout.yaxis.ticktext[-1] == "8 others"
    assert list(drawn.data[0].y) == list(range(13)), "names that look the same are bars of their own"
    assert "<" not in drawn.layout.xaxis.title.text + "".join(drawn.layout.yaxis.ticktext)


def test_rows_match_by_any_words_in_any_order():
    rows = [{"actor": "ada", "action": "log in"}, {"actor": "bo", "action": "log out"}]
    assert matching(rows, "LOG ada") == rows[:1]
    assert matching(rows, "") == rows
    assert matching(rows, "nobody") == []


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), max_size=5))
def test_what_is_exported_is_no_formula_and_comes_back_whole(cells: list[str]):
    rows = [{"a": cell, "b": 1.5} for cell in cells]
    read = list(csv.reader(io.StringIO(as_csv(rows, ("a", "b")).decode(), newline="")))[1:]
    for (a, b), cell in zip(read, cells, strict=True):
        assert a.removeprefix("'") == cell.removeprefix("'") or a == f"'{cell}"
        assert not a.startswith(("=", "+", "-", "@"))
        assert b == "1.5"


def test_picked_days_are_whole_days():
    days = (date(2024, 3, 1), date(2024, 3, 2))
    assert window(days) == ("2024-03-01T00:00:00+00:00", "2024-03-03T00:00:00+00:00")
    assert window(days[:1]) == ("2024-03-01T00:00:00+00:00", None)
    assert window(()) == (None, None)
