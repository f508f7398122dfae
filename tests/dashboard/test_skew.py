"""What was compared, sampled and left out of skew is said in words, as Streamlit shows it."""

from __future__ import annotations

from typing import Any

from streamlit.testing.v1 import AppTest

SAMPLED = {
    "rows": 612,
    "values": 2448,
    "unexplained": {"amount": 3},
    "explained": {},
    "left_out": {},
    "examples": ["loan_terms {'loan_id': 7}: amount is 1.0 online, 2.0 offline"],
}
LOGGED = {
    "rows": 82113,
    "values": 492678,
    "unexplained": {},
    "explained": {"not materialized yet (customer_payments)": 5},
    "left_out": {"gone: history does not have it": 12, "all of the feature service *older*": 1300},
    "examples": [],
}


def _page(found):  # (Streamlit runs its text alone: nothing of this module is known in it)
    from dashboard.parts import skew

    skew.show(found)


def shown(found: dict[str, Any]) -> AppTest:
    app = AppTest.from_function(_page, default_timeout=20, args=(found,)).run()
    assert not app.exception, app.exception
    return app


def captions(app: AppTest) -> list[str]:
    return [one.value.replace("\\", "") for one in app.caption]


def test_what_was_compared_and_left_out_is_said_of_the_log_and_of_what_is_online():
    app = shown({**LOGGED, "sampled": SAMPLED})
    assert captions(app) == [
        "Compared 82,113 logged vectors of the turn's window with what history says, as of the moment of each "
        "prediction.",
        "Left out: all of the feature service *older* (1,300), gone: history does not have it (12).",
        "5 more differ, as they should: not materialized yet (customer_payments)",
        "Compared 612 rows with what history says now (sampled): of every view the entities that changed last.",
    ]
    assert r"\*older\*" in app.caption[1].value, "what services tell is no markup"
    assert [(one.label, one.value) for one in app.metric] == [
        ("Vectors", "82,113"),
        ("Values", "492,678"),
        ("Differ", "0"),
        ("Rows", "612"),
        ("Values", "2,448"),
        ("Differ", "3"),
    ]
    assert app.dataframe[0].value.to_dict("list") == {"feature": ["amount"], "values that differ": [3]}
    assert "amount is 1.0 online" in app.code[0].value


def test_an_online_store_that_was_away_hides_nothing_of_what_was_logged():
    app = shown({**LOGGED, "left_out": {}, "sampled": {"error": "Nothing *answers* at 127.0.0.1:1."}})
    assert [one.value for one in app.warning] == [r"Nothing \*answers\* at 127.0.0.1\:1."]
    assert [one.value for one in app.metric] == ["82,113", "492,678", "0"]
    assert not any(said.startswith("Left out") for said in captions(app))


def test_a_look_that_failed_and_a_turn_of_before_rows_were_sampled_are_shown_too():
    assert [one.value for one in shown({"error": "no log"}).warning] == ["no log"]
    older = {"rows": 4, "values": 24, "unexplained": {}}
    assert [one.value for one in shown(older).metric] == ["4", "24", "0"]
