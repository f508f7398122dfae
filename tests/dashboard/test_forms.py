"""Forms that are made of what the services say: widgets for every kind of value, and what they send."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from streamlit.testing.v1 import AppTest

from dashboard.pages.data import counted, report_rows
from dashboard.parts.jobs import over, rounds
from dashboard.parts.retrain import request
from training.overrides import Overrides, options
from training.params import TrainParams

OPTIONS = options(TrainParams(), ["logistic", "catboost"])["candidates"]


BIG = 2**60 + 1
# Kind, what is known, what was seen before; the widget, what is typed into it, and what is sent.
CASES: dict[str, tuple[str, Any, tuple[str, ...], str, Any, Any]] = {
    "count": ("integer", 3, (), "number_input", 4, 4),
    "new_count": ("integer", None, (), "number_input", 4, 4),
    "big_count": ("integer", BIG, (), "text_input", str(BIG + 2), BIG + 2),  # a browser would round it
    "amount": ("number", 2174.26, (), "number_input", 0.5, 0.5),
    "whole_amount": ("number", 3, (), "number_input", 2.5, 2.5),
    "name": ("text", "bo", (), "text_input", "ada", "ada"),
    "region": ("text", "north", ("south", "west", "north"), "selectbox", "west", "west"),
    "rush": ("boolean", True, (), "selectbox", False, False),
    "new_rush": ("boolean", None, (), "selectbox", True, True),
    "due_at": (
        "moment",
        "2024-03-01T12:00:00+00:00",
        (),
        "datetime_input",
        datetime(2024, 3, 2, 8, 30),
        "2024-03-02T08:30:00+00:00",
    ),
}


def test_every_kind_of_value_has_its_widget():
    def script(cases):  # (Streamlit runs its text alone: nothing of this module is known in it)
        import streamlit as st

        from dashboard.parts.contract import Field, sent
        from dashboard.parts.widgets import ask

        for name, (kind, value, known, *_) in cases.items():
            st.session_state[f"given-{name}"] = sent(ask(Field(name, kind), value, known, key=name))

    app = AppTest.from_function(script, default_timeout=20, args=(CASES,)).run()
    assert not app.exception, app.exception
    assert {name: app.session_state[f"given-{name}"] for name in CASES} == {
        name: case[1] for name, case in CASES.items()
    }
    assert app.selectbox(key="region").options == ["north", "south", "west"]
    for name, (_, _, _, widget, typed, _) in CASES.items():
        getattr(app, widget)(key=name).set_value(typed)
    app.run()
    assert {name: app.session_state[f"given-{name}"] for name in CASES} == {
        name: case[5] for name, case in CASES.items()
    }


def test_an_ordinary_training_is_asked_for_in_no_more_words_than_it_needs():
    defaults = {name: {p: o["default"] for p, o in OPTIONS[name]["parameters"].items()} for name in OPTIONS}
    assert request(OPTIONS, ["logistic", "catboost"], defaults) == {"promote": True}


def test_what_is_chosen_for_a_training_is_what_the_service_takes():
    chosen = ["catboost"]
    body = request(
        OPTIONS, chosen, {"catboost": {"depth": 5}}, since=date(2024, 1, 1), until=date(2024, 2, 1), promote=False
    )
    assert body == {
        "promote": False,
        "candidates": ["catboost"],
        "overrides": {"catboost": {"depth": 5}},
        "since": "2024-01-01T00:00:00+00:00",
        "until": "2024-02-01T00:00:00+00:00",
    }
    checked = Overrides.checked(
        candidates=body["candidates"],
        params=body["overrides"],
        since=datetime.fromisoformat(body["since"]),
        until=datetime.fromisoformat(body["until"]),
    )
    assert checked.since == datetime(2024, 1, 1, tzinfo=UTC)


def test_a_training_s_rounds_are_read_from_its_log():
    lines = [
        "2024-03-01T00:00:00Z round 0, validation log loss 0.6900",
        "2024-03-01T00:00:00Z something else",
        "2024-03-01T00:00:01Z round 10, validation log loss 0.5000",
    ]
    assert rounds(lines) == {0: 0.69, 10: 0.5}
    assert rounds([*lines, "round 0, validation log loss 0.7000"]) == {0: 0.7}, "the next candidate begins anew"
    assert rounds([]) == {}


def test_a_job_is_over_when_nothing_more_happens():
    assert [over({"status": s}) for s in ("queued", "running", "done", "failed", "cancelled")] == [False] * 2 + [
        True
    ] * 3


def test_reports_are_a_row_a_table():
    found = {"rows": 10, "quarantined": 3, "reasons": {"rare": 1, "common": 2}, "warnings": {}}
    report = {"window": "w1", "tables": {"loans": found}}
    assert report_rows(report) == [
        {
            "window": "w1",
            "table": "loans",
            "rows": 10,
            "quarantined": 3,
            "reasons": "common: 2; rare: 1",
            "warnings": "",
        }
    ]
    assert counted({}) == ""
