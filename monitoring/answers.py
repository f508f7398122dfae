"""What the monitoring service's routes answer, but for those of drift and of turns."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from core.service import Told
from monitoring.alarms import Kind, State

_SINCE, _UNTIL = "2024-03-01T00:00:00Z", "2024-03-08T00:00:00Z"


class LoggedPrediction(Told):
    """A prediction, and what came of it."""

    prediction_id: str = Field(description="GET /predictions/{id} of the prediction service traces it.")
    predicted_at: datetime = Field(description="On the problem's clock.")
    served_at: datetime = Field(description="On the machine's clock.")
    entity: dict[str, Any] = Field(description="Keys and inputs: what was sent, and what was looked up.")
    class_: str = Field(alias="class")
    probability: float
    model_version: str
    stale: list[str] = Field(description="Feature views that were older than they promise.")
    actor: str | None = Field(description="Who asked; null where that was not logged yet.")
    what_if: bool
    outcome: int | None = Field(description="The label, 0 or 1; null while it is not known, and for what-ifs.")


class Predictions(Told):
    """The one that was served last first."""

    predictions: list[LoggedPrediction]

    example: ClassVar[dict[str, Any]] = {
        "predictions": [
            {
                "prediction_id": "0005f1a2b3c4d5e0123456789abcdef0",
                "predicted_at": _SINCE,
                "served_at": "2026-01-01T00:00:00Z",
                "entity": {"loan_id": 3000, "customer_id": 3},
                "class": "paid",
                "probability": 0.12,
                "model_version": "3",
                "stale": [],
                "actor": "key:the app",
                "what_if": False,
                "outcome": None,
            }
        ]
    }


class BucketCount(Told):
    """The predictions of one model version in one span of time."""

    start: datetime = Field(description="On the problem's clock, UTC.")
    end: datetime
    model_version: str
    predictions: int
    positives: int
    mean_probability: float
    stale: int = Field(description="Made with a view older than it promises.")
    missing: int = Field(description="Made without a value of at least one feature.")


class Bin(Told):
    """Predictions whose probability lies from ``low`` to below ``high``; 1 is in the last."""

    low: float
    high: float
    predictions: int


class ActorCount(Told):
    """The predictions that somebody asked for."""

    actor: str | None = Field(description="Null where that was not logged yet.")
    predictions: int


class Statistics(Told):
    """How many predictions there were; all zeros where there were none."""

    total: int = Field(description="Of all that was asked for, what-ifs too unless they were left out.")
    what_if: int = Field(description="How many of these are what-ifs.")
    buckets: list[BucketCount] = Field(description="Those with any predictions, in the order of time and version.")
    probability: list[Bin]
    classes: dict[str, int]
    actors: list[ActorCount] = Field(description="Those who asked most, first; one hundred at most.")

    example: ClassVar[dict[str, Any]] = {
        "total": 5,
        "what_if": 1,
        "buckets": [
            {
                "start": _SINCE,
                "end": "2024-03-02T00:00:00Z",
                "model_version": "3",
                "predictions": 5,
                "positives": 1,
                "mean_probability": 0.21,
                "stale": 0,
                "missing": 2,
            }
        ],
        "probability": [{"low": 0.1, "high": 0.2, "predictions": 4}, {"low": 0.6, "high": 0.7, "predictions": 1}],
        "classes": {"paid": 4, "missed": 1},
        "actors": [{"actor": "key:the app", "predictions": 5}],
    }


class Measured(Told):
    """How good the predictions of one version were in one window, in all or in one slice."""

    since: datetime
    until: datetime
    model_version: str
    slice: dict[str, str] | None = Field(description="Column -> value; null for all rows.")
    rows: int = Field(description="Predictions that count.")
    positives: int
    waiting: int = Field(description="Predictions whose label is not known yet.")
    auc: float | None = Field(description="Null where one class alone occurs, as the others.")
    average_precision: float | None
    brier: float | None
    log_loss: float | None
    f1: float | None
    precision: float | None
    recall: float | None

    example: ClassVar[dict[str, Any]] = {
        "since": _SINCE,
        "until": _UNTIL,
        "model_version": "3",
        "slice": {"region": "north"},
        "rows": 500,
        "positives": 60,
        "waiting": 20,
        "auc": 0.74,
        "average_precision": 0.41,
        "brier": 0.09,
        "log_loss": 0.31,
        "f1": 0.44,
        "precision": 0.4,
        "recall": 0.5,
    }


class Windows(Told):
    """Performance by window, version and slice, in the order of time."""

    windows: list[Measured]

    example: ClassVar[dict[str, Any]] = {"windows": [Measured.example]}


class ViewAge(Told):
    """The age of a feature view that is online."""

    view: str
    age_seconds: float | None = Field(description="Of its newest fact; null where nothing is online.")
    promise_seconds: float | None = Field(description="Null where it never gets stale.")
    fresh: bool

    example: ClassVar[dict[str, Any]] = {
        "view": "customer_payments",
        "age_seconds": 3600.0,
        "promise_seconds": 86400.0,
        "fresh": True,
    }


class Freshness(Told):
    """The age of each feature view, against its promise."""

    views: list[ViewAge]

    example: ClassVar[dict[str, Any]] = {"views": [ViewAge.example]}


class Alarm(Told):
    """Something that is or was not as it should be."""

    id: int
    state: State
    kind: Kind
    subject: str
    words: str
    value: float | None = Field(description="What was measured.")
    threshold: float | None = Field(description="The bound that it broke.")
    facts: dict[str, Any]
    opened_at: datetime = Field(description="On the problem's clock, as the next two.")
    updated_at: datetime
    cleared_at: datetime | None
    cleared_why: str | None
    created_at: datetime = Field(description="On the machine's clock, as the next one.")
    acknowledged_at: datetime | None
    acknowledged_by: str | None

    example: ClassVar[dict[str, Any]] = {
        "id": 7,
        "state": "open",
        "kind": "freshness",
        "subject": "customer_payments",
        "words": "The newest fact of customer_payments that is online is 30.0 hours old; 24.0 hours are promised.",
        "value": 108000.0,
        "threshold": 86400.0,
        "facts": {},
        "opened_at": _UNTIL,
        "updated_at": _UNTIL,
        "cleared_at": None,
        "cleared_why": None,
        "created_at": "2026-01-01T00:00:00Z",
        "acknowledged_at": None,
        "acknowledged_by": None,
    }


class AlarmList(Told):
    """Alarms, the newest first."""

    alarms: list[Alarm]

    example: ClassVar[dict[str, Any]] = {"alarms": [Alarm.example]}
