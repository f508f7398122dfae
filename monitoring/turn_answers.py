"""What the routes of turns and decisions answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from core.service import Told
from monitoring.answers import Alarm, Measured, ViewAge
from monitoring.decisions import Action, Outcome
from monitoring.drift_answers import PerformanceTested
from monitoring.drift_reports import Verdict

_WINDOW = {"since": "2024-03-01T00:00:00Z", "until": "2024-03-08T00:00:00Z"}
_COUNTED = {"rows": 500, "values": 6000, "unexplained": {}, "explained": {}, "left_out": {}, "examples": []}


class NotSeen(Told):
    """What could not be looked at."""

    error: str


class TruthSeen(Told):
    """What is known of what was predicted."""

    days: int = Field(description="With predictions.")
    written: list[str] = Field(description="Days whose truth was written anew.")
    predictions: int
    labelled: int
    waiting: int = Field(description="Those whose label is not known yet.")
    after: int = Field(description="Those made after the label was known.")
    missing_slices: list[str]
    new: int = Field(description="Labels since the last training.")


class PerformanceSeen(Told):
    """How good the predictions of the window were."""

    windows: list[Measured]
    measured: list[Measured] = Field(description="Of the newest window of its length with labels.")
    refreshed: int = Field(description="Earlier windows whose labels came late.")


class DriftSeen(Told):
    """The drift test of the window, in short."""

    id: str
    model_version: str
    verdict: Verdict
    share: float
    rows: int
    reasons: list[str]
    performance: PerformanceTested | None
    drifted: list[str]


class FreshnessSeen(Told):
    """The age of each view, and how often features were missing."""

    views: list[ViewAge]
    missing: dict[str, float] = Field(description="Feature -> share of the predictions without a value.")


class Counted(Told):
    """Values that were compared with history, and how many differ."""

    rows: int
    values: int
    unexplained: dict[str, int] = Field(description="Feature -> values that nothing explains.")
    explained: dict[str, int] = Field(description="Why they differ -> how many.")
    left_out: dict[str, int] = Field(description="Why they were not compared -> how many.")
    examples: list[str]


class SkewSeen(Counted):
    """Logged vectors against history, and what is online now."""

    sampled: Counted | NotSeen

    example: ClassVar[dict[str, Any]] = {**_COUNTED, "sampled": _COUNTED}


class LastSkew(Told):
    """What the last turn found when it rebuilt logged vectors."""

    since: datetime
    until: datetime
    skew: SkewSeen | NotSeen

    example: ClassVar[dict[str, Any]] = {**_WINDOW, "skew": SkewSeen.example}


class Decision(Told):
    """What was decided at the end of a window, and what came of it."""

    id: int
    action: Action
    at: datetime = Field(description="On the problem's clock.")
    champion: str | None
    act: bool = Field(description="Whether it might be carried out.")
    triggers: list[str]
    reasons: list[str]
    facts: dict[str, Any]
    outcome: Outcome
    version: str | None = Field(description="The version that was trained, or is back.")
    job: str | None = Field(description="The training's job.")
    created_at: datetime = Field(description="On the machine's clock, as the next one.")
    ended_at: datetime | None

    example: ClassVar[dict[str, Any]] = {
        "id": 7,
        "action": "retrain",
        "at": "2024-03-08T00:00:00Z",
        "champion": "2",
        "act": True,
        "triggers": [],
        "reasons": ["Nothing asks for a training."],
        "facts": {},
        "outcome": "nothing",
        "version": None,
        "job": None,
        "created_at": "2026-01-01T00:00:00Z",
        "ended_at": "2026-01-01T00:00:00Z",
    }


class DecisionList(Told):
    """Decisions, the newest first."""

    decisions: list[Decision]

    example: ClassVar[dict[str, Any]] = {"decisions": [Decision.example]}


class AlarmsChanged(Told):
    """Alarms that a turn opened and cleared, and how many are open after it."""

    opened: list[Alarm]
    cleared: list[Alarm]
    open: int


class Turn(Told):
    """What a turn found, decided and did."""

    since: datetime
    until: datetime
    model_version: str | None
    truth: TruthSeen | NotSeen
    performance: PerformanceSeen | NotSeen
    drift: DriftSeen | NotSeen
    freshness: FreshnessSeen | NotSeen
    skew: SkewSeen | NotSeen
    alarms: AlarmsChanged
    rollback: Decision | None = Field(description="Null where there was nothing to undo.")
    decision: Decision

    example: ClassVar[dict[str, Any]] = {
        **_WINDOW,
        "model_version": "2",
        "truth": {
            "days": 7,
            "written": ["2024-03-07"],
            "predictions": 1500,
            "labelled": 1400,
            "waiting": 100,
            "after": 0,
            "missing_slices": [],
            "new": 1400,
        },
        "performance": {"windows": [{**Measured.example, "slice": None}], "measured": [], "refreshed": 0},
        "drift": {"error": "No data: Model version 2 has no reference of its training data."},
        "freshness": {"views": [ViewAge.example], "missing": {"amount": 0.01}},
        "skew": SkewSeen.example,
        "alarms": {"opened": [Alarm.example], "cleared": [], "open": 1},
        "rollback": None,
        "decision": Decision.example,
    }


class Turns(Told):
    """What the turns found, the newest window first."""

    turns: list[Turn]

    example: ClassVar[dict[str, Any]] = {"turns": [Turn.example]}
