"""Exploring tables, and single stages, as Streamlit runs them, on real data and monitoring services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
import streamlit as st
import yaml
from streamlit.testing.v1 import AppTest

from core.client import DataClient
from core.conditions import MAX_CONDITIONS, OPERATORS, Condition
from core.errors import InvalidRequest
from dashboard.parts.explore import listed, picture
from dashboard.parts.stages import STAGES, freshness
from tests.cli.conftest import ROOT
from tests.core.auth.conftest import PASSWORD, until
from tests.dashboard import stack as stacks
from tests.dashboard.stack import Stack
from tests.dashboard.test_insight import part, tab
from tests.dashboard.test_pages import Tab, named, text

pytestmark = pytest.mark.slow
__all__ = ["tab"]  # a fixture

KEY = "explore-raw-loans"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = stacks.build(tmp_path_factory.mktemp("explore") / "loans")
    try:
        made.accounts.users.add("ada", "admin", PASSWORD, by="tests")
        made.start("data", "monitoring")
        yield made
    finally:
        made.stop()


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    st.cache_data.clear()


@pytest.fixture(scope="module")
def loans(stack: Stack) -> pd.DataFrame:
    return pd.concat(map(pd.read_parquet, sorted(stack.world.repo.layout.raw.glob("*/loans.parquet"))))


def explore(tab: Tab) -> AppTest:
    tab.log_in("ada")
    return part(tab.open("data"), "Explore")


def ask(app: AppTest, column: str, operator: str, value: str = "", *, key: str = KEY, number: int = 1) -> AppTest:
    """Fill in a condition, which is added if it is not there yet."""
    if not any(one.key == f"{key}-{number}-column" for one in app.selectbox):
        app.button(key=f"{key}-add").click().run()
    app.selectbox(key=f"{key}-{number}-column").set_value(column)
    app.selectbox(key=f"{key}-{number}-operator").set_value(operator)
    if value:
        app.text_input(key=f"{key}-{number}-value").set_value(value)
    app.run()
    assert not app.exception, app.exception
    return app


def test_conditions_order_and_profile_are_those_of_all_rows(tab: Tab, loans: pd.DataFrame):
    app = explore(tab)
    assert f"**{len(loans):,}** rows are there, and 200 are shown" in text(app)
    ask(app, "amount", ">", "4000")
    ask(app, "region", "contains", "OR", number=2)
    app.selectbox(key=f"{KEY}-sort").set_value("amount")
    named(app.select_slider, "At most").set_value(50).run()
    wanted = loans[(loans["amount"] > 4000) & (loans["region"] == "north")].sort_values("amount", ascending=False)
    assert f"**{len(wanted):,}** rows fulfil the conditions, and 50 are shown" in text(app)
    rows, profile = (one.value for one in app.dataframe[:2])
    assert list(rows["loan_id"]) == list(wanted["loan_id"][:50])
    assert f"all {len(wanted):,} rows" in text(app)
    told = profile.set_index("column")
    assert told.loc["loan_id", "different"] == wanted["loan_id"].nunique()
    assert told.loc["region", "most frequent"] == f"north: {len(wanted):,}"
    assert {"least", "most", "mean", "50%", "missing"} <= set(told)
    assert app.get("plotly_chart")
    app.toggle(key=f"{KEY}-down").set_value(False).run()
    assert list(app.dataframe[0].value["loan_id"]) == list(wanted["loan_id"][::-1][:50])
    app.multiselect(key=f"{KEY}-columns").set_value(["region"]).run()
    assert list(app.dataframe[0].value) == list(app.dataframe[1].value["column"]) == ["region"]
    app.button(key=f"{KEY}-2-remove").click().run()
    assert f"**{(loans['amount'] > 4000).sum():,}** rows" in text(app)


def test_what_cannot_be_asked_is_told_and_what_was_typed_stays(tab: Tab, loans: pd.DataFrame):
    app = ask(explore(tab), "amount", ">", "a **lot**")
    assert any("amount is DOUBLE" in one.value and "is none" in one.value for one in app.error)
    assert app.text_input(key=f"{KEY}-1-value").value == "a **lot**"
    ask(app, "amount", ">", "4900")
    assert not app.error
    assert f"**{(loans['amount'] > 4900).sum():,}** rows" in text(app)
    part(app, "Lineage")
    part(app, "Explore")
    assert app.text_input(key=f"{KEY}-1-value").value == "4900"
    assert app.selectbox(key=f"{KEY}-1-operator").value == ">"
    assert f"**{(loans['amount'] > 4900).sum():,}** rows" in text(app), "and it still holds"


@pytest.mark.parametrize("value", ["'; DROP TABLE loans; --", 'x" OR "1"="1', "<script>alert(1)</script>", "é" * 900])
def test_hostile_values_are_texts_that_no_row_holds(tab: Tab, value: str):
    app = ask(explore(tab), "region", "=", value)
    assert not app.error
    assert "**0** rows fulfil the conditions" in text(app)
    assert app.dataframe[1].value.set_index("column").loc["region", "different"] == 0


def test_a_condition_counts_once_it_is_whole(tab: Tab, loans: pd.DataFrame):
    app = explore(tab)
    app.button(key=f"{KEY}-add").click().run()
    assert "no column or no value yet is left out" in text(app)
    assert f"**{len(loans):,}** rows are there" in text(app)
    ask(app, "region", "is missing")
    assert "left out" not in text(app)
    assert "**0** rows fulfil" in text(app)
    assert app.text_input(key=f"{KEY}-1-value").disabled
    assert app.selectbox(key=f"{KEY}-1-operator").options == list(OPERATORS)
    for _ in range(MAX_CONDITIONS - 1):
        app.button(key=f"{KEY}-add").click().run()
    assert app.button(key=f"{KEY}-add").disabled


def test_every_layer_and_table_can_be_looked_into(tab: Tab, stack: Stack):
    app = explore(tab)
    for layer, tables in (
        ("valid", ["loans", "payments"]),
        ("quarantine", ["loans", "payments"]),
        ("features", ["customer_payments", "loan_terms"]),
    ):
        named(app.selectbox, "Rows").set_value(layer).run()
        picked = named(app.selectbox, "Table")
        assert sorted(picked.options) == tables
        picked.set_value(tables[1]).run()
        assert not app.exception
        assert not app.error, [one.value for one in app.error]
        assert "What is in the columns" in text(app)


def test_the_typed_client_asks_the_same(tab: Tab, loans: pd.DataFrame):
    client = tab.log_in("ada").client(DataClient)
    where = [Condition("amount", ">", "4000"), Condition("region", "is not missing")]
    found = client.preview("loans", where=where, limit=3, sort="amount", descending=True, columns=["amount"])
    assert [row["amount"] for row in found["rows"]] == loans["amount"].nlargest(3).tolist()
    profile = client.profile("loans", "valid", where, columns=["amount"])
    assert profile["rows"] == found["total"] == (loans["amount"] > 4000).sum()
    with pytest.raises(InvalidRequest, match="amount is DOUBLE"):
        client.profile("loans", where=[Condition("amount", "=", "much")])


def test_every_stage_of_the_pipeline_has_its_button(tab: Tab):
    tab.log_in("ada")
    app = tab.open("data")
    said = text(app)
    stages = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    assert {{"import": "fetch", "preprocess": "transform"}.get(one, one) for one in STAGES} == stages - {"train"}
    assert "training, is on the page Training" in said
    for label, note in STAGES.values():
        named(app.button, label)
        assert note in said
    for view in ("customer\\_payments", "loan\\_terms"):
        assert f"{view}: " in said
    assert "promised" in said


def test_stages_are_jobs_and_views_can_be_chosen(tab: Tab):
    caller = tab.log_in("ada")

    def job(kind: str) -> dict[str, Any]:
        return next(one for one in caller.get("data", "/jobs")["jobs"] if one["kind"] == kind)

    app = tab.open("data")
    named(app.multiselect, "Views to materialize").set_value(["loan_terms"]).run()
    named(app.button, "Materialize").click().run()
    assert not app.exception, app.exception
    until(lambda: job("materialize")["status"] == "done", 60)
    said = caller.get("data", f"/jobs/{job('materialize')['id']}/log")["lines"]
    assert any(line.endswith("materialize loan_terms") for line in said), said
    app = tab.open("data")
    named(app.button, "Apply the definitions").click().run()
    until(lambda: job("apply")["status"] == "done", 60)
    named(tab.open("data").button, "Build the rows to learn from").click().run()
    until(lambda: job("dataset")["status"] == "done", 60)


def test_stages_are_there_while_the_monitoring_service_is_not(tab: Tab, stack: Stack):
    tab.log_in("ada")
    stack.kill("monitoring")
    tab._services.board.look()
    app = tab.open("data")
    assert "monitoring" in " ".join(one.value for one in app.warning)
    for label, _ in STAGES.values():
        named(app.button, label)


def test_freshness_is_told_in_words():
    view = {"view": "a_b", "age_seconds": 90_000, "promise_seconds": 86_400, "fresh": False}
    assert freshness(view) == "a\\_b: 1 day old, promised 1 day at most"
    assert freshness({**view, "age_seconds": None, "promise_seconds": None}).endswith(
        "nothing is online, may be of any age"
    )


def test_pictures_of_columns_tell_values_apart_and_hold_no_markup():
    column = {"column": "<b>", "type": "VARCHAR", "histogram": None}
    long = ["x" * 200, "x" * 199 + "y", "<script>"]
    chart = picture({**column, "frequent": [{"value": value, "rows": 3} for value in long]})
    assert len(set(chart.x)) == 3
    assert max(map(len, chart.x)) < 45
    assert chart.series == {"rows": [3, 3, 3]}
    parts = [{"from": i, "to": i + 1, "rows": i} for i in range(3)]
    assert picture({**column, "histogram": parts, "frequent": []}).x == ["0", "1", "2"]
    parts = [{"from": 1e6 + i / 9, "to": 1e6 + (i + 1) / 9, "rows": i} for i in range(9)]
    assert len(set(picture({**column, "histogram": parts, "frequent": []}).x)) == 9


def test_a_listed_profile_is_as_people_read_it():
    [row] = listed(
        [
            {
                "column": "at",
                "type": "TIMESTAMP WITH TIME ZONE",
                "missing": 0.5,
                "distinct": 1,
                "least": "2024-03-01T12:00:00Z",
                "most": None,
                "mean": None,
                "quantiles": None,
                "frequent": [{"value": "2024-03-01T12:00:00Z", "rows": 1200}],
            }
        ]
    )
    assert (row["least"], row["most"], row["mean"]) == ("2024-03-01 12:00", "-", "-")
    assert row["most frequent"] == "2024-03-01 12:00: 1,200"
