"""What a turn saw, as alarms: which to raise, and why those that are over are over. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.problem import Problem
    from monitoring.alarms import Kind

Look = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be; the arguments of :meth:`monitoring.alarms.Alarms.raise_alarm`."""

    subject: str
    words: str
    value: float | None = None
    threshold: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """What could be told about one kind of alarm.

    Attributes
    ----------
    kind : str
        The kind.
    bad : list of Finding
        What is wrong; open alarms about anything else of this kind are over.
    good : str
        Why they are.
    """

    kind: Kind
    bad: list[Finding]
    good: str


def judged(problem: Problem, looks: Mapping[str, Look]) -> list[Judged]:
    """Judge what was seen; of what could not be seen, or told, nothing is said, and its alarms stay as they are.

    Parameters
    ----------
    problem : Problem
        Names and thresholds.
    looks : mapping
        What the tasks of a turn returned, by name; ``{"error": words}`` for one that failed.
    """
    seen = {name: look for name, look in looks.items() if "error" not in look}
    out = [_failed(looks)]
    if (drift := seen.get("drift")) and drift["verdict"] != "too few rows":
        out.append(_drift(problem, drift))
    if (drift := seen.get("drift")) and drift["performance"]:
        out.append(_performance(problem, drift["performance"]))
    if freshness := seen.get("freshness"):
        stale = [_stale(view) for view in freshness["views"] if not view["fresh"]]
        out.append(Judged("freshness", stale, "the view is as fresh as promised again"))
    if (skew := seen.get("skew")) and skew["rows"]:
        out.append(
            Judged("skew", list(_skewed(skew)), f"{skew['rows']:,} logged vectors were rebuilt, and are the same")
        )
    if (sampled := seen.get("skew", {}).get("sampled", {})).get("rows"):
        out.append(
            Judged("online", list(_online(sampled)), f"{sampled['rows']:,} rows that are online are what history says")
        )
    return out


def _failed(looks: Mapping[str, Look]) -> Judged:
    bad = [
        Finding(name, f"Could not look at {name}: {look['error']}") for name, look in looks.items() if "error" in look
    ]
    return Judged("monitoring", bad, "it could be looked at again")


def _drift(problem: Problem, drift: Look) -> Judged:
    names = [f["name"] for f in drift["features"] if f["drifted"]]
    facts = {"report": drift["id"], "model_version": drift["model_version"], "features": names}
    words = " ".join(drift["reasons"])
    found = Finding(problem.feature_service, words, drift["share"], problem.drift.share, facts)
    return Judged("drift", [found] if drift["verdict"] == "drift" else [], f"no drift any more: {words}")


def _performance(problem: Problem, found: Look) -> Judged:
    bad = []
    for metric, sign in (("auc", -1), ("brier", 1)):
        if found[metric]["drifted"]:
            bound = found[metric]["reference"] + sign * problem.drift.max_drop
            bad.append(Finding(metric, found["words"], found[metric]["current"], bound, {"rows": found["rows"]}))
    return Judged("performance", bad, found["words"])


def _stale(view: Mapping[str, Any]) -> Finding:
    age, promise = view["age_seconds"], view["promise_seconds"]
    if age is None:
        return Finding(view["view"], f"Nothing of {view['view']} is online.", None, promise)
    words = f"The newest fact of {view['view']} that is online is {_hours(age)} old; {_hours(promise)} are promised."
    return Finding(view["view"], words, age, promise)


def _skewed(skew: Look) -> Iterator[Finding]:
    for feature, count in skew["unexplained"].items():
        words = f"{feature} was served {count:,} times with another value than training would have seen."
        examples = [text for text in skew["examples"] if f": {feature} is " in text]
        yield Finding(feature, words, count, 0, {"rows": skew["rows"], "examples": examples})


def _online(sampled: Look) -> Iterator[Finding]:
    for feature, count in sampled["unexplained"].items():
        words = f"{feature} is another online than history has it now, for {count:,} of the entities that were drawn."
        examples = [text for text in sampled["examples"] if f": {feature} is " in text]
        yield Finding(feature, words, count, 0, {"rows": sampled["rows"], "examples": examples})


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours"
