"""What people are told: of alarms as they open and end, and of every model that is trained, promoted or rolled back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.notify import Message

if TYPE_CHECKING:
    from core.problem import Problem

Row = Mapping[str, Any]
_OUTCOMES = {
    "promoted": ("promotion", "version {version} is the champion now"),
    "waits": ("promotion", "version {version} waits for a second person's approval"),
    "kept": ("retraining", "version {champion} stays the champion"),
    "failed": ("retraining", "it failed"),
}


def of_alarms(problem: Problem, opened: Sequence[Row], cleared: Sequence[Row]) -> Iterator[Message]:
    """Give a message on drift, and one on all other alarms, where there is anything new to say."""
    for event, mine in (("drift", True), ("alarm", False)):
        new = [row for row in opened if (row["kind"] == "drift") == mine]
        over = [row for row in cleared if (row["kind"] == "drift") == mine]
        if new or over:
            lines = [row["words"] for row in new]
            lines += [f"Over: {row['kind']} of {row['subject']}: {row['cleared_why']}." for row in over]
            what = ", ".join(dict.fromkeys(f"{row['kind']} of {row['subject']}" for row in new)) or "alarms are over"
            yield _message(problem, event, what, lines, {"opened": new, "cleared": over})


def of_start(problem: Problem, decision: Row) -> Message:
    """Say that a training begins, and why."""
    triggers = ", ".join(decision["triggers"])
    return _message(
        problem, "retraining", f"a training begins ({triggers})", decision["reasons"], {"decision": decision}
    )


def of_outcome(problem: Problem, decision: Row) -> Message:
    """Say what came of a training."""
    event, words = _OUTCOMES[decision["outcome"]]
    what = words.format(version=decision["version"], champion=decision["champion"])
    return _message(problem, event, f"after training, {what}", decision["reasons"], {"decision": decision})


def of_rollback(problem: Problem, decision: Row) -> Message:
    """Say what came of a decision to roll back."""
    done = decision["outcome"] == "rolled back"
    what = f"version {decision['champion']} {'was' if done else 'could not be'} rolled back"
    return _message(problem, "rollback", what, decision["reasons"], {"decision": decision})


def _message(problem: Problem, event: str, what: str, lines: Sequence[str], facts: dict[str, Any]) -> Message:
    return Message(f"monitoring.{event}", f"punctual: {problem.name}: {what}", "\n".join(lines), facts)
