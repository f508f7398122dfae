"""What a turn saw becomes alarms: of what could not be seen, or told, nothing is said."""

from __future__ import annotations

from typing import Any

from core.problem import Problem
from monitoring.findings import judged
from tests.repos.loans_world import LOANS

PROBLEM = Problem.load(LOANS / "problem.yaml")
DRIFT: dict[str, Any] = {
    "id": "r1",
    "model_version": "1",
    "verdict": "drift",
    "share": 0.5,
    "reasons": ["2 of 4 features drifted."],
    "features": [{"name": "amount", "drifted": True}, {"name": "hour", "drifted": False}],
    "performance": None,
}


def found(**looks: Any) -> dict[str, Any]:
    """Return kind -> what is wrong, of what could be told."""
    return {one.kind: one.bad for one in judged(PROBLEM, looks)}


def test_drift_is_an_alarm_with_its_share_its_bound_and_the_features():
    (alarm,) = found(drift=DRIFT)["drift"]
    assert (alarm.subject, alarm.value, alarm.threshold) == ("default_risk", 0.5, PROBLEM.drift.share)
    assert alarm.facts == {"report": "r1", "model_version": "1", "features": ["amount"]}
    assert found(drift={**DRIFT, "verdict": "no drift"})["drift"] == []


def test_too_few_rows_say_nothing_and_neither_does_what_could_not_be_seen():
    assert "drift" not in found(drift={**DRIFT, "verdict": "too few rows"})
    looks = found(drift={"error": "No data: it is older."}, freshness={"error": "Redis is away."})
    assert set(looks) == {"monitoring"}
    assert [(alarm.subject, alarm.words) for alarm in looks["monitoring"]] == [
        ("drift", "Could not look at drift: No data: it is older."),
        ("freshness", "Could not look at freshness: Redis is away."),
    ]


def test_a_metric_that_fell_is_an_alarm_against_the_bound_it_broke():
    auc = {"drifted": True, "current": 0.70, "reference": 0.75}
    brier = {"drifted": False, "current": 0.15, "reference": 0.14}
    fell = {"rows": 900, "words": "AUC fell.", "auc": auc, "brier": brier, "drifted": True}
    (alarm,) = found(drift={**DRIFT, "performance": fell})["performance"]
    assert (alarm.subject, alarm.value) == ("auc", 0.70)
    assert alarm.threshold == 0.75 - PROBLEM.drift.max_drop


def test_each_view_that_is_older_than_promised_is_one_and_a_view_that_is_empty_too():
    views = [
        {"view": "a", "age_seconds": 7200.0, "promise_seconds": 3600.0, "fresh": False},
        {"view": "b", "age_seconds": 60.0, "promise_seconds": None, "fresh": True},
        {"view": "c", "age_seconds": None, "promise_seconds": 3600.0, "fresh": False},
    ]
    old, empty = found(freshness={"views": views})["freshness"]
    assert (old.subject, old.words) == (
        "a",
        "The newest fact of a that is online is 2.0 hours old; 1.0 hours are promised.",
    )
    assert (empty.subject, empty.value, empty.threshold) == ("c", None, 3600.0)


def test_each_feature_that_was_served_otherwise_is_one_with_examples():
    skew = {"rows": 9, "values": 54, "unexplained": {"amount": 2}}
    examples = ["prediction 1: amount is 2 online, 3 offline", "prediction 1: hour is 2 online, 3 offline"]
    (alarm,) = found(skew={**skew, "examples": examples})["skew"]
    assert (alarm.subject, alarm.value, alarm.facts["examples"]) == ("amount", 2, examples[:1])
    assert found(skew={"rows": 9, "unexplained": {}, "examples": []})["skew"] == []
    assert "skew" not in found(skew={"rows": 0, "unexplained": {}, "examples": []})


def test_what_is_online_and_not_what_history_says_is_an_alarm_of_its_own():
    sampled = {"rows": 40, "unexplained": {"amount": 3}, "examples": ["loan_terms 1: amount is 2 online, 3 offline"]}
    logged = {"rows": 0, "unexplained": {}, "examples": []}
    kinds = found(skew={**logged, "sampled": sampled})
    assert "skew" not in kinds  # nothing was logged: of that nothing is said
    (alarm,) = kinds["online"]
    assert (alarm.subject, alarm.value, alarm.facts["examples"]) == ("amount", 3, sampled["examples"])
    assert found(skew={**logged, "sampled": {**sampled, "unexplained": {}}})["online"] == []
    assert "online" not in found(skew={**logged, "sampled": {"error": "Redis is away."}})
