"""Alarms open once, follow what they are about, end with a reason; decisions are taken once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.database import Database
from core.errors import NotFound
from monitoring.alarms import Alarms
from monitoring.decisions import Decisions

MONDAY = datetime(2024, 3, 4, tzinfo=UTC)
DAY = timedelta(days=1)
_numbers = count()


@pytest.fixture(scope="module")
def database() -> Database:
    """Give one database for all tests: each has a model of its own in it, since migrating takes longer than a test."""
    return Database("sqlite://")


@pytest.fixture
def alarms(database: Database, request: pytest.FixtureRequest) -> Alarms:
    return Alarms(database, request.node.name[:60])


@pytest.fixture
def decisions(database: Database, request: pytest.FixtureRequest) -> Decisions:
    return Decisions(database, request.node.name[:60])


def test_an_alarm_opens_once_follows_and_ends_with_a_reason(alarms: Alarms):
    assert alarms.raise_alarm("freshness", "weather", "3 hours old", at=MONDAY, value=3, threshold=2)
    assert not alarms.raise_alarm("freshness", "weather", "5 hours old", at=MONDAY + DAY, value=5, threshold=2)
    (row,) = alarms.list("open")
    assert (row["words"], row["value"], row["state"]) == ("5 hours old", 5.0, "open")
    assert (row["opened_at"], row["updated_at"]) == (MONDAY.isoformat(), (MONDAY + DAY).isoformat())
    assert alarms.clear("freshness", "weather", "fresh again", at=MONDAY + 2 * DAY)
    assert not alarms.clear("freshness", "weather", "fresh again", at=MONDAY + 3 * DAY)
    assert alarms.list("open") == []
    (row,) = alarms.list("cleared")
    assert (row["cleared_why"], row["cleared_at"]) == ("fresh again", (MONDAY + 2 * DAY).isoformat())
    assert alarms.raise_alarm("freshness", "weather", "again", at=MONDAY + 4 * DAY)
    assert [r["state"] for r in alarms.list()] == ["open", "cleared"]


def test_a_look_at_an_older_window_neither_changes_nor_ends_an_alarm(alarms: Alarms):
    alarms.raise_alarm("drift", "service", "new", at=MONDAY + DAY, value=0.5)
    alarms.raise_alarm("drift", "service", "old", at=MONDAY, value=0.1)
    assert not alarms.clear("drift", "service", "it was good then", at=MONDAY)
    assert [(r["words"], r["value"]) for r in alarms.list("open")] == [("new", 0.5)]


def test_an_alarm_is_acknowledged_by_the_first_who_does(alarms: Alarms):
    alarms.raise_alarm("skew", "amount", "differs", at=MONDAY, facts={"rows": 7})
    (row,) = alarms.list()
    assert alarms.acknowledge(row["id"], actor="ann")["acknowledged_by"] == "ann"
    assert alarms.acknowledge(row["id"], actor="bob")["acknowledged_by"] == "ann"
    assert alarms.list("open")[0]["facts"] == {"rows": 7}
    with pytest.raises(NotFound, match="no alarm 999"):
        alarms.acknowledge(999, actor="ann")


def test_models_that_share_a_database_do_not_share_alarms(alarms: Alarms):
    alarms.raise_alarm("drift", "service", "moved", at=MONDAY)
    other = Alarms(alarms.database, "flights")
    assert other.list() == []
    assert not other.clear("drift", "service", "fine", at=MONDAY)
    with pytest.raises(NotFound):
        other.acknowledge(alarms.list()[0]["id"], actor="ann")
    assert other.raise_alarm("drift", "service", "moved", at=MONDAY)


stories = st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=12)
fixture = HealthCheck.function_scoped_fixture


@settings(deadline=None, max_examples=25, suppress_health_check=[fixture])
@given(story=stories)
def test_never_two_open_alarms_about_the_same(database: Database, story: list[tuple[str, bool]]):
    alarms = Alarms(database, f"story-{next(_numbers)}")
    expected: dict[str, bool] = {}
    for n, (subject, bad) in enumerate(story):
        at = MONDAY + n * DAY
        if bad:
            assert alarms.raise_alarm("skew", subject, "differs", at=at) == (not expected.get(subject, False))
        else:
            assert alarms.clear("skew", subject, "same", at=at) == expected.get(subject, False)
        expected[subject] = bad
    assert sorted(r["subject"] for r in alarms.list("open")) == sorted(s for s, bad in expected.items() if bad)


def take(decisions: Decisions, at: datetime = MONDAY, **changed: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"act": True, "outcome": "pending", "champion": "1", "triggers": ["drift"]}
    said |= {"reasons": ["it drifts"], "facts": {"n": 1}}
    return decisions.take("retrain", at, **(said | changed))


def test_a_decision_is_taken_once_and_ends_once(decisions: Decisions):
    row = take(decisions)
    assert take(decisions, reasons=["another"]) == row
    ended = decisions.end(row["id"], "kept", ["within noise"], version="2", job="train-1", facts={"gain": 0.0})
    assert (ended["outcome"], ended["reasons"], ended["version"]) == ("kept", ["it drifts", "within noise"], "2")
    assert ended["facts"] == {"n": 1, "gain": 0.0}
    assert decisions.end(row["id"], "promoted", ["no"], version="3") == ended
    assert take(decisions, outcome="nothing") == ended
    assert decisions.list() == [ended]


def test_what_was_only_looked_at_may_be_decided_anew(decisions: Decisions):
    looked = take(decisions, outcome="looked", act=False)
    row = take(decisions)
    assert (row["id"], row["outcome"], row["act"]) == (looked["id"], "pending", True)
    assert row["ended_at"] is None


def test_on_postgres_too(postgres_url: str):
    alarms, decisions = Alarms(Database(postgres_url), "loans"), Decisions(Database(postgres_url), "loans")
    assert alarms.raise_alarm("drift", "service", "moved", at=MONDAY, value=0.5, facts={"features": ["a"]})
    assert not alarms.raise_alarm("drift", "service", "still", at=MONDAY + DAY)
    assert alarms.clear("drift", "service", "gone", at=MONDAY + DAY)
    row = take(decisions)
    assert take(decisions) == row
    assert decisions.end(row["id"], "kept", ["within noise"])["outcome"] == "kept"
    assert decisions.last_training(MONDAY + DAY) == MONDAY


def test_only_a_training_that_took_place_counts_as_the_last(decisions: Decisions):
    assert decisions.last_training(MONDAY) is None
    for n, outcome in enumerate(("kept", "promoted", "failed", "nothing", "looked", "pending")):
        row = take(decisions, MONDAY + n * DAY, outcome="pending" if n < 3 else outcome)
        if n < 3:
            decisions.end(row["id"], outcome, [])
    assert decisions.last_training(MONDAY + 9 * DAY) == MONDAY + DAY
    assert decisions.last_training(MONDAY + DAY) == MONDAY


def test_what_another_turn_left_unfinished_is_given_up(decisions: Decisions):
    left, mine = take(decisions), take(decisions, MONDAY + DAY)
    decisions.give_up(but=MONDAY + DAY)
    assert decisions.at("retrain", MONDAY)["outcome"] == "failed"
    assert decisions.at("retrain", MONDAY + DAY) == mine
    assert decisions.end(left["id"], "promoted", [])["outcome"] == "failed"
