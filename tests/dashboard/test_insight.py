"""Monitoring, analytics and lineage as Streamlit runs them, on real services."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from streamlit.testing.v1 import AppTest

from core.settings import get_settings
from dashboard.parts import print_analytics
from dashboard.parts.current import Current
from dashboard.services import Caller, services
from tests.core.auth.conftest import PASSWORD, until
from tests.dashboard import watched
from tests.dashboard.stack import SERVICES, Stack, in_use
from tests.dashboard.test_pages import Tab, named, text

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = watched.build(tmp_path_factory.mktemp("insight") / "loans")
    with in_use(made, *SERVICES):
        yield made


@pytest.fixture
def tab(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tab]:
    for name, port in SERVICES.items():
        monkeypatch.setenv(f"PUNCTUAL_{name.upper()}_URL", f"http://127.0.0.1:{stack.environment[port]}")
    get_settings.cache_clear()
    services.cache_clear()
    made = services()
    made.board.look()
    yield Tab(made, monkeypatch)
    made.close()
    get_settings.cache_clear()
    services.cache_clear()


def part(app: AppTest, name: str) -> AppTest:
    """Choose a part of a page."""
    named(app.segmented_control, "Part").set_value(name).run()
    assert not app.exception, app.exception
    return app


def predict(tab: Tab, user: str, count: int) -> None:
    caller = tab.log_in(user)
    for i in range(count):
        caller.send("prediction", "POST", "/predict", {"entities": [{"loan_id": 5900 + i}]})


def test_the_monitoring_page_says_what_was_found(tab: Tab):
    tab.log_in("ada")
    app = tab.open("monitoring")
    said = text(app)
    assert "No turn was taken yet" in said
    assert "Open alarms: 1" in said
    assert r"values moved in \*many\* features" in said, "what services tell is no markup"
    assert {"view", "newest row", "promised"} <= set(app.dataframe[0].value)
    named(app.button, "I take care of it").click().run()
    assert "ada takes care of it" in text(app)
    part(app, "Alarms")
    named(app.segmented_control, "State").set_value("all").run()
    assert list(app.dataframe[0].value["seen by"]) == ["ada"]
    assert "Nothing was decided yet" in text(part(app, "Decisions"))


def test_drift_over_time_by_feature_and_one_report(tab: Tab):
    tab.log_in("ada")
    app = part(tab.open("monitoring"), "Drift")
    report = named(app.selectbox, "Report")
    assert [option.rpartition(": ")[2] for option in report.options] == ["drift", "no drift"]
    assert "noise" in text(app), text(app)
    rows = app.dataframe[0].value
    assert list(rows["feature"])[:2] == ["predicted probability", "noise"]
    assert app.get("plotly_chart"), "both pictures are drawn"
    named(app.toggle, "Show the page with the distributions").set_value(True).run()
    assert [frame.proto.src for frame in app.get("iframe")] == ["/reports/drift/20240301T000000Z_20240308T000000Z-v2"]
    report.select_index(1).run()
    assert "figures and no page" in text(app)
    assert not app.get("iframe")
    named(app.button, "Draw it")


def test_performance_says_what_is_known(tab: Tab):
    tab.log_in("ada")
    app = part(tab.open("monitoring"), "Performance")
    assert not app.exception
    assert "Nothing was measured yet" in text(app) or named(app.metric, "Labels").value


def test_everybody_sees_their_own_figures_and_administrators_all(tab: Tab):
    predict(tab, "bo", 3)
    tab.log_in("bo")

    def total(app: AppTest) -> int:
        return int(named(app.metric, "Predictions").value.replace(",", ""))

    until_logged(tab, 3)
    app = tab.open("analytics")
    assert "that you asked for" in text(app)
    assert total(app) == 3
    assert not app.segmented_control or named(app.segmented_control, "By")
    tab.log_in("ada")
    app = tab.open("analytics")
    assert total(app) >= 900, "what others asked counts too"
    named(app.selectbox, "Which").set_value("What if").run()
    assert total(app) == 0
    assert "Nothing was predicted in this period" in text(app)


def until_logged(tab: Tab, count: int) -> None:
    """Wait until what somebody asked is in the log."""
    session = tab._services.sessions.find(tab.cookie)
    assert session is not None
    call = Caller(tab._services, session)
    until(lambda: len(call.get("monitoring", "/monitoring/predictions", limit=500)["predictions"]) >= count, 20)


def test_somebody_who_asked_nothing_is_told_so(tab: Tab, stack: Stack):
    stack.accounts.users.add("dee", "user", PASSWORD, by="tests")
    tab.log_in("dee")
    assert "Nothing was predicted yet" in text(tab.open("analytics"))


def test_the_quality_of_the_data_and_the_models(tab: Tab):
    tab.log_in("ada")
    app = part(tab.open("analytics"), "Data quality")
    assert {"version", "until", "rows"} <= set(app.dataframe[0].value)
    assert len(app.get("plotly_chart")) >= 2
    part(app, "Models")
    assert "No model is registered yet" in text(app)


def test_the_printed_page_is_whole_and_runs_nothing(tab: Tab):
    caller = tab.log_in("ada")
    session = tab._services.sessions.find(tab.cookie)
    assert session is not None
    since, end = "2024-02-01T00:00:00+00:00", "2024-04-01T00:00:00+00:00"
    now = caller.get("monitoring", "/monitoring/statistics", since=since, until=end, bucket="week")
    now["buckets"][0]["model_version"] = "<script>alert(1)</script>"
    page = print_analytics.page(Current(session, caller), "February & March", now, now, "<b>late</b>")
    assert "<script" not in page
    assert "February &amp; March" in page
    assert "&lt;b&gt;late" in page
    for heading in ("Data quality", "Models"):
        assert f"<h2>{heading}</h2>" in page
    assert page.count("data:image/svg+xml;base64,") >= 6
    assert "http" not in page


def test_what_is_made_of_what_is_drawn(tab: Tab):
    tab.log_in("ada")
    app = part(tab.open("data"), "Lineage")
    graph = app.get("graphviz_chart")[0].proto.spec
    for edge in (
        '"table payments" -> "view customer_payments"',
        '"view customer_payments" -> "service default_risk"',
        '"input amount" -> "view amount_scaled"',
        '"version 2" -> "served served"',
    ):
        assert edge in graph
    # Version 2 serves and is not registered: the present data is there, and nobody says that it was trained from it.
    now = re.search(r'"service default_risk" -> ("data [0-9a-f]+")', graph)
    assert now
    assert f'"labels labels" -> {now[1]}' in graph
    assert f'{now[1]} -> "version 2" [color="#8a97a5", style=invis]' in graph
    assert "Dotted lines: where the labels come from" in text(app)
    made_of = dict(zip(app.dataframe[0].value["view"], app.dataframe[0].value["made of"], strict=True))
    assert made_of["loan_terms"] == "loans"


def test_a_report_is_shown_to_whoever_is_logged_in_in_a_sandbox(stack: Stack):
    stack.start("dashboard")
    where = f"{stack.url}/reports/drift/20240301T000000Z_20240308T000000Z-v2"
    assert httpx.get(where).status_code == 401
    page = httpx.get(where, headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (
        303,
        "/login?next=/reports/drift/20240301T000000Z_20240308T000000Z-v2",
    )


def test_pages_wait_for_a_service_that_is_down(tab: Tab, stack: Stack):
    tab.log_in("ada")
    stack.kill("monitoring")
    tab._services.board.look()
    for page in ("monitoring", "analytics"):
        assert "monitoring service is down" in text(tab.open(page))
    app = part(tab.open("analytics"), "Data quality")
    assert "Data versions" in text(app), "the rest is there"
