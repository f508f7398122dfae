"""Choosing an entity by a part of its id, as Streamlit runs it; the search itself is the data service's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.errors import ServiceUnavailable
from dashboard.parts import search
from dashboard.parts.contract import Contract, Field

CONTRACT = Contract("Late?", Field("loan_id", "integer", required=True), ())
IDS = [5901, 5902, 1590, 77]


class Call:
    """Answers as the data service does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.away = False
        self.most = 50

    def get(self, name: str, path: str, **params: Any) -> dict[str, Any]:
        assert (name, path) == ("data", "/data/entities")
        self.asked.append(params)
        if self.away:
            raise ServiceUnavailable("The data service does not answer.")
        found = [one for one in IDS if params["search"] in str(one)]
        return {"ids": found[: self.most], "whole": len(found) <= self.most, "view": "loan_terms", "key": "loan_id"}


def _page() -> None:
    import streamlit as st

    from dashboard.parts.search import choose_entity
    from tests.dashboard.test_search import CONTRACT

    st.session_state["chosen"] = choose_entity(st.session_state["who"], CONTRACT)


@pytest.fixture
def call() -> Call:
    search._found.clear()
    return Call()


@pytest.fixture
def app(call: Call) -> AppTest:
    made = AppTest.from_function(_page, default_timeout=20)
    made.session_state["who"] = SimpleNamespace(call=call)
    return made.run()


def captions(app: AppTest) -> str:
    return " ".join(str(one.value) for one in app.caption)


def test_the_newest_are_offered_until_somebody_searches(app: AppTest, call: Call):
    assert not app.exception
    assert app.text_input[0].label == "Find a loan id"
    assert app.selectbox[0].options == ["5901", "5902", "1590", "77"]
    assert app.session_state["chosen"] is None
    app.text_input[0].set_value(" 59 ").run()
    assert app.selectbox[0].options == ["5901", "5902", "1590"]
    app.selectbox[0].set_value("1590").run()
    assert app.session_state["chosen"] == "1590"
    assert [asked["search"] for asked in call.asked] == ["", "59"], "asked once for each"


def test_what_was_chosen_stays_while_one_searches_on(app: AppTest):
    app.selectbox[0].set_value("77").run()
    app.text_input[0].set_value("59").run()
    assert app.session_state["chosen"] in ("77", None)
    assert not app.exception


def test_more_than_can_be_offered_is_said(app: AppTest, call: Call):
    call.most = 2
    app.text_input[0].set_value("59").run()
    assert app.selectbox[0].options == ["5901", "5902"]
    assert "Type more of it" in captions(app)


def test_nothing_found_is_said_and_markup_is_text(app: AppTest):
    app.text_input[0].set_value("<b>x</b>").run()
    assert app.selectbox[0].options == []
    assert "No id that is known contains" in captions(app)


def test_without_the_data_service_an_id_can_be_typed(app: AppTest, call: Call):
    call.away = True
    app.text_input[0].set_value("5").run()
    assert not app.exception
    assert "Nothing can be searched just now" in captions(app)
    assert app.selectbox[0].options == []
