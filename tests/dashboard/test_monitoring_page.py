"""Performance, alarms and decisions as the page shows them: of a model that has lived, and of one that has not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, get_args

import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score
from streamlit.testing.v1 import AppTest

from core.settings import get_settings
from dashboard.parts import decided, words
from dashboard.services import services
from monitoring.decisions import Outcome
from tests.core.auth.conftest import PASSWORD
from tests.dashboard import lived, watched
from tests.dashboard import stack as stacks
from tests.dashboard.lived import DECIDED, FIRST, LAST, REASON, Lived, decided_at
from tests.dashboard.stack import SERVICES, Stack
from tests.dashboard.test_pages import Tab, named, text
from tests.monitoring.drift_world import START, WEEK

pytestmark = pytest.mark.slow

# The two last windows are those of watched, in which no label is known yet.
ENDS = [FIRST + n * WEEK for n in (1, 2, 3, 4)] + [START, START + WEEK]
# What is said of the newest decisions, the newest first.
SAID = [
    "It trains again: AUC fell by *0.1*.",
    "It did not train again: no drift, no drop in performance.",
    "It rolls back version 2: version 2 does worse than version 1.",
    "It rolled back version 2, and version 1 serves again: version 2 does worse than version 1.",
    "It wanted to roll back version 2, which stays all the same: the registry has none as previous, not 1.",
    "It wanted to roll back version 2, and could not: the training service is away.",
    "It would have rolled back version 2, and was told to look alone: version 2 does worse than version 1.",
    "Version 2 stays: version 2 does no worse than version 1.",
]
Open = Callable[[str], AppTest]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    made = lived.build(tmp_path_factory.mktemp("lived") / "loans")
    with _served(made.stack):
        yield made


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Bring up a model of which nothing was seen yet."""
    made = stacks.build(tmp_path_factory.mktemp("blank") / "loans")
    with _served(made):
        yield made


@contextmanager
def _served(stack: Stack) -> Iterator[None]:
    try:
        stack.accounts.users.add("ada", "admin", PASSWORD, by="tests")
        stack.start("data", "monitoring")
        yield
    finally:
        stack.stop()


@pytest.fixture
def opened(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Give a way to open a part of the page: of the model that a test is marked with, else of one that has lived."""
    name = getattr(request, "param", "life")
    made = request.getfixturevalue(name)
    stack = made.stack if isinstance(made, Lived) else made
    for service, port in SERVICES.items():
        monkeypatch.setenv(f"PUNCTUAL_{service.upper()}_URL", f"http://127.0.0.1:{stack.environment[port]}")
    get_settings.cache_clear()
    services.cache_clear()
    called = services()
    called.board.look()
    tab = Tab(called, monkeypatch)
    tab.log_in("ada")

    def part(chosen: str) -> AppTest:
        app = tab.open("monitoring")
        named(app.segmented_control, "Part").set_value(chosen).run()
        assert not app.exception, app.exception
        return app

    yield part
    called.close()
    get_settings.cache_clear()
    services.cache_clear()


def points(app: AppTest, number: int) -> dict[str, dict[datetime, float | None]]:
    """Return what a chart draws: series to moments to values."""
    figure = json.loads(app.get("plotly_chart")[number].proto.spec)
    return {
        one["name"]: {datetime.fromisoformat(x): y for x, y in zip(one["x"], one["y"], strict=True)}
        for one in figure["data"]
    }


def rows(app: AppTest, column: str) -> list[dict[str, Any]]:
    """Return the rows of the one table that has a column."""
    (found,) = [frame.value for frame in app.dataframe if column in frame.value.columns]
    return found.to_dict("records")


def measured(life: Lived, measure: Callable[..., float], version: str) -> dict[datetime, Any]:
    """Return a measure of each week that a version answered in, straight from scikit-learn."""
    weeks: dict[datetime, list[dict[str, Any]]] = {}
    for one in life.predictions:
        if one["model_version"] == version:
            weeks.setdefault(FIRST + ((one["predicted_at"] - FIRST) // WEEK + 1) * WEEK, []).append(one)
    return {
        end: pytest.approx(measure([one["label"] for one in week], [one["probability"] for one in week]))
        for end, week in weeks.items()
    }


def test_the_quality_of_each_version_is_drawn_week_by_week(opened: Open, life: Lived):
    app = opened("Performance")
    for number, measure in enumerate((roc_auc_score, brier_score_loss)):
        drawn = points(app, number)
        assert set(drawn) == {"version 1", "version 2"}
        for version, answered in (("1", ENDS[:3]), ("2", ENDS[1:4])):
            found = drawn[f"version {version}"]
            assert list(found) == ENDS
            assert {end: value for end, value in found.items() if value is not None} == measured(life, measure, version)
            assert [end for end, value in found.items() if value is not None] == answered
    better = points(app, 0)
    assert better["version 2"][ENDS[2]] > better["version 1"][ENDS[2]], "and one is told from the other"


def test_labels_are_counted_by_week_and_those_to_come_beside_them(opened: Open, life: Lived):
    app = opened("Performance")
    drawn = points(app, 2)
    weeks = [(one["predicted_at"] - FIRST) // WEEK for one in life.predictions]
    assert list(drawn["with a label"].values()) == [*(weeks.count(n) for n in range(4)), 0, 0]
    assert list(drawn["still to come"].values()) == [0, 0, 0, 0, 1, 1]
    told = {name: named(app.metric, name).value for name in ("Labels", "Positive", "Still to come")}
    positives = sum(one["label"] for one in life.predictions)
    assert told == {"Labels": f"{len(life.predictions):,}", "Positive": f"{positives:,}", "Still to come": "0"}
    assert "Windows may overlap" in text(app)


def test_windows_of_another_length_are_chosen(opened: Open, life: Lived):
    app = opened("Performance")
    by = named(app.segmented_control, "Windows of")
    assert (by.options, by.value) == (["1 day", "7 days"], "7 days")
    by.set_value("1 day").run()
    assert not app.exception, app.exception
    days = {one["predicted_at"].date() for one in life.predictions}
    assert len(points(app, 0)["version 1"]) == len(days)
    assert "Windows may overlap" not in text(app)
    assert {row["version"] for row in rows(app, "from")} == {"1", "2"}
    assert sum(row["labels"] for row in rows(app, "from")) == len(life.predictions)


def test_windows_are_listed_the_newest_first_and_filtered_by_words(opened: Open):
    app = opened("Performance")
    listed = rows(app, "from")
    assert [row["until"] for row in listed][:3] == [words.moment(end) for end in reversed(ENDS[3:])]
    assert len(listed) == 8
    (filter_of,) = [one for one in app.text_input if one.key == "performance-filter"]
    filter_of.set_value(words.moment(ENDS[1])).run()
    assert {row["version"] for row in rows(app, "from")} == {"1", "2"}
    assert "4 of 8 rows" in text(app), "two windows end then, and two begin"


def test_slices_are_told_of_the_chosen_window_and_version(opened: Open, life: Lived):
    app = opened("Performance")
    window = named(app.selectbox, "Window")
    wanted = f"{words.moment(FIRST)} to {words.moment(ENDS[0])}, version 1"
    assert window.value == f"{words.moment(ENDS[2])} to {words.moment(ENDS[3])}, version 2"
    window.set_value(wanted).run()
    found = rows(app, "slice")
    own = [one for one in life.predictions if one["model_version"] == "1" and one["predicted_at"] < ENDS[0]]
    for row in found:
        part = [one for one in own if one["features"]["region"] == row["value"]]
        auc = roc_auc_score([one["label"] for one in part], [one["probability"] for one in part])
        assert (row["slice"], row["labels"], row["AUC"]) == ("region", len(part), pytest.approx(auc))
    assert sorted(row["value"] for row in found) == ["north", "south", "west"]
    assert [row["labels"] for row in found] == sorted((row["labels"] for row in found), reverse=True)


def test_the_newest_decisions_are_explained_in_words_and_all_are_listed(opened: Open):
    app = opened("Decisions")
    said = [one.value for one in app.markdown if one.value.startswith(("It ", "Version "))]
    assert said == [words.literal(sentence) for sentence in SAID]
    newest, *_ = moments = [words.moment(decided_at(n)) for n in reversed(range(len(DECIDED)))]
    when = [one.value for one in app.caption if "UTC" in one.value]
    assert when[0].endswith(f" {newest} UTC")
    assert when[1].endswith(f" {moments[2]} to {moments[1]} UTC, 2 turns"), "what was decided twice is said once"
    listed = rows(app, "triggers")
    assert [(row["action"], row["outcome"], row["reasons"]) for row in listed] == list(reversed(DECIDED))
    assert [row["at"] for row in listed] == moments
    assert listed[0]["triggers"] == "performance"
    assert [row["version"] for row in listed if row["outcome"] == "promoted"] == ["2"]


def test_there_are_words_for_every_kind_of_decision():
    assert {outcome for _, outcome, _ in DECIDED} == set(get_args(Outcome))
    for action, outcome, why in DECIDED:
        facts = {"champion": "1", "version": "2", "reasons": [why]}
        said = decided.sentence({"action": action, "outcome": outcome, **facts})
        assert said.startswith(("It ", "Version 1 ")), said


def test_decisions_are_filtered_by_words(opened: Open):
    app = opened("Decisions")
    named(app.text_input, "Filter").set_value("ROLLBACK failed").run()
    assert [(row["action"], row["outcome"]) for row in rows(app, "triggers")] == [("rollback", "failed")]
    assert f"1 of {len(DECIDED)} rows" in text(app)
    named(app.text_input, "Filter").set_value("nothing like it").run()
    assert rows(app, "triggers") == []
    assert f"0 of {len(DECIDED)} rows" in text(app)


def test_open_alarms_say_what_is_wrong_since_when_and_who_takes_care(opened: Open):
    app = opened("Alarms")
    said = text(app)
    assert "Open alarms: 2" in said
    for told in (REASON, watched.ALARM):
        assert words.literal(told) in said, "as it was written: no markup"
    assert f"since {words.moment(LAST)} UTC" in said
    assert "bo takes care of it" in said
    assert [one.label for one in app.button].count("I take care of it") == 1
    assert "loan\\_terms" not in said, "what is over is not shown among them"


def test_alarms_that_are_over_say_why_and_can_be_filtered(opened: Open):
    app = opened("Alarms")
    named(app.segmented_control, "State").set_value("cleared").run()
    (row,) = rows(app, "state")
    assert row == {
        "state": "cleared",
        "kind": "freshness",
        "subject": "loan_terms",
        "says": "loan_terms is 3 hours old",
        "value": 3.0,
        "bound": 2.0,
        "since": words.moment(LAST - WEEK),
        "over": words.moment(LAST),
        "why over": "it is fresh again",
        "seen by": "",
    }
    named(app.segmented_control, "State").set_value("all").run()
    assert [(row["kind"], row["state"]) for row in rows(app, "state")] == [
        ("performance", "open"),
        ("freshness", "cleared"),
        ("drift", "open"),
    ]
    named(app.text_input, "Filter").set_value("auc").run()
    assert [row["seen by"] for row in rows(app, "state")] == ["bo"]


@pytest.mark.parametrize("opened", ["blank"], indirect=True)
@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("Performance", "Nothing was measured yet: labels come late, and a turn of monitoring joins them."),
        ("Decisions", "Nothing was decided yet: the first turn does."),
        ("Alarms", "None."),
    ],
)
def test_what_is_not_there_yet_is_said_so(opened: Open, part: str, said: str):
    app = opened(part)
    assert said in text(app)
    assert not app.dataframe
    assert not app.get("plotly_chart")
    if part == "Alarms":
        for state in ("cleared", "all"):
            named(app.segmented_control, "State").set_value(state).run()
            assert "There is none." in text(app), state
