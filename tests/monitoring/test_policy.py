"""The retraining policy: what pulls a trigger, what holds it back, and that every decision says why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.problem import Retraining
from monitoring.policy import DRIFT, PERFORMANCE, SCHEDULE, TRIGGERS, VOLUME, Decision, Seen, decide, due

START = datetime(2013, 1, 31, 12, tzinfo=UTC)
days = st.integers(0, 400).map(lambda n: timedelta(days=n))
policies = st.builds(
    Retraining,
    schedule=st.none() | st.sampled_from(["weekly", "monthly", "10d"]),
    on_drift=st.booleans(),
    on_performance=st.booleans(),
    new_rows=st.none() | st.integers(1, 5000),
    cooldown=st.integers(0, 60).map(lambda n: timedelta(days=n)),
    min_rows=st.integers(1, 3000),
)
seen = st.builds(
    lambda age, known, rows, drift, drop: Seen(START, START - age if known else None, rows, drift, drop),
    days,
    st.booleans(),
    st.integers(0, 6000),
    st.none() | st.just("3 of 10 features moved"),
    st.none() | st.just("AUC fell by 0.04"),
)


def braked(policy: Retraining, what: Seen) -> bool:
    cooling = what.trained_at is not None and what.now < what.trained_at + policy.cooldown
    return cooling or what.new_rows < policy.min_rows


@given(policies, seen)
def test_it_trains_when_a_trigger_is_pulled_and_no_brake_holds(policy: Retraining, what: Seen):
    found = decide(policy, what)
    assert found.retrain == (bool(found.triggers) and not braked(policy, what))
    assert set(found.triggers) <= set(TRIGGERS)
    assert (DRIFT in found.triggers) == (policy.on_drift and what.drift is not None)
    assert (PERFORMANCE in found.triggers) == (policy.on_performance and what.drop is not None)
    assert (VOLUME in found.triggers) == (policy.new_rows is not None and what.new_rows >= policy.new_rows)
    if policy.schedule is not None:
        last = what.trained_at
        assert (SCHEDULE in found.triggers) == (last is None or what.now >= due(policy.schedule, last))


@given(policies, seen)
def test_every_decision_says_why(policy: Retraining, what: Seen):
    found = decide(policy, what)
    assert found.words
    assert all(words.strip() for words in found.words)
    told = "; ".join(found.words)
    for trigger in found.triggers:
        assert f"{trigger}: " in told
    if found.triggers and not found.retrain:
        assert "cool-down" in told or "too little to learn" in told


@given(policies, seen)
def test_the_same_sight_gives_the_same_decision(policy: Retraining, what: Seen):
    assert decide(policy, what) == decide(policy, what)


@given(policies, seen, st.integers(0, 5000))
def test_more_rows_never_stop_a_training(policy: Retraining, what: Seen, more: int):
    richer = Seen(what.now, what.trained_at, what.new_rows + more, what.drift, what.drop)
    assert decide(policy, richer).retrain >= decide(policy, what).retrain


@given(policies, st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=40))
def test_no_two_trainings_lie_closer_than_the_cool_down(policy: Retraining, turns: list[tuple[bool, int]]):
    now, trained_at, trained = START, None, []
    for drifts, wait in turns:
        now += timedelta(days=wait)
        found = decide(policy, Seen(now, trained_at, 10_000, "it drifts" if drifts else None))
        if found.retrain:
            trained_at = now
            trained.append(now)
    assert all(b - a >= policy.cooldown for a, b in pairwise(trained))


def test_a_quiet_turn_is_explained_too():
    policy = Retraining(schedule="monthly", new_rows=4000)
    found = decide(policy, Seen(START, START - timedelta(days=3), 1200))
    assert found == Decision(
        False,
        [],
        [
            "nothing to do: the schedule trains on 2013-02-28 12:00, no drift, no drop in performance, "
            "1,200 of 4,000 new labelled predictions"
        ],
    )


def test_drift_in_the_cool_down_waits_and_says_until_when():
    found = decide(Retraining(), Seen(START, START - timedelta(days=3), 1200, drift="carrier moved"))
    assert not found.retrain
    assert found.triggers == [DRIFT]
    assert found.words[1] == "drift: carrier moved"
    assert "2013-02-04" in found.words[2]


@pytest.mark.parametrize(
    ("schedule", "last", "expected"),
    [
        ("weekly", "2013-01-31", "2013-02-07"),
        ("monthly", "2013-01-31", "2013-02-28"),
        ("monthly", "2013-02-28", "2013-03-28"),
        ("monthly", "2012-12-15", "2013-01-15"),
        (timedelta(days=10), "2013-01-31", "2013-02-10"),
    ],
)
def test_when_the_next_training_is_due(schedule, last, expected):
    assert due(schedule, datetime.fromisoformat(last)) == datetime.fromisoformat(expected)


@pytest.mark.parametrize("wrong", [{"schedule": "daily"}, {"confidence": 1.0}, {"min_rows": 0}, {"on_sunday": True}])
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        Retraining.model_validate(wrong)
