"""What the training service's routes answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from core.jobs.answers import JobState, queued
from core.service import Told
from core.service.answers import Move

_SCORES = {
    "auc": 0.74,
    "average_precision": 0.41,
    "brier": 0.09,
    "log_loss": 0.31,
    "f1": 0.44,
    "precision": 0.4,
    "recall": 0.5,
    "positive_share": 0.12,
    "called_share": 0.15,
    "rows": 500.0,
}


class TrainingJob(JobState):
    """The job that trains, queued; Location says where to look at it."""

    job_id: str = Field(description="The same as `id`.")

    example: ClassVar[dict[str, Any]] = queued("train", job_id="train-0123456789abcdef0123")


class Parameter(Told):
    """A parameter that a run may set."""

    type: Literal["integer", "number"]
    minimum: float
    maximum: float
    default: float | None = Field(description="Of params.yaml; null where the library's own counts.")
    description: str


class Candidate(Told):
    """A candidate, and its parameters."""

    default: bool = Field(description="Whether it is trained when a run names no others.")
    parameters: dict[str, Parameter]


class Options(Told):
    """What a run may choose."""

    candidates: dict[str, Candidate]

    example: ClassVar[dict[str, Any]] = {
        "candidates": {
            "logistic": {
                "default": True,
                "parameters": {
                    "C": {
                        "type": "number",
                        "minimum": 1e-6,
                        "maximum": 1e6,
                        "default": 0.1,
                        "description": "Inverse of the regularization's strength",
                    }
                },
            }
        }
    }


class RegisteredVersion(Told):
    """A registered version."""

    version: str
    roles: list[Literal["champion", "challenger", "previous"]]
    run_id: str
    registered_at: datetime
    tags: dict[str, str]
    metrics: dict[str, float] = Field(description="Empty where its run is gone.")

    example: ClassVar[dict[str, Any]] = {
        "version": "2",
        "roles": ["champion"],
        "run_id": "0123456789abcdef0123456789abcdef",
        "registered_at": "2026-01-01T00:00:00Z",
        "tags": {"candidate": "catboost", "data_version": "9f86d081884c7d65"},
        "metrics": {"auc": 0.74, "brier": 0.09},
    }


class RegisteredVersions(Told):
    """The registered versions, the newest first."""

    model: str = Field(description="The registered model's name.")
    roles: dict[str, str] = Field(description="Role -> version, of those that are taken.")
    versions: list[RegisteredVersion]

    example: ClassVar[dict[str, Any]] = {
        "model": "missed_payment",
        "roles": {"champion": "2"},
        "versions": [RegisteredVersion.example],
    }


class MoveRequested(Move):
    """The request; it is carried out once a second person agrees."""

    example: ClassVar[dict[str, Any]] = {**Move.example, "action": "request", "status": "pending"}


class Moves(Told):
    """The ledger, the newest row first."""

    promotions: list[Move]

    example: ClassVar[dict[str, Any]] = {"promotions": [Move.example]}


class VersionInFull(RegisteredVersion):
    """A registered version, its parameters, and where it has been."""

    params: dict[str, str]
    lineage: dict[str, str]
    promotions: list[Move]

    example: ClassVar[dict[str, Any]] = {
        **RegisteredVersion.example,
        "params": {"candidate": "catboost", "seed": "7"},
        "lineage": {"data_version": "9f86d081884c7d65", "feature_service": "missed_payment"},
        "promotions": [Move.example],
    }


class Scores(Told):
    """Metrics on some rows; null where a metric says nothing of them."""

    auc: float | None
    average_precision: float | None
    brier: float | None
    log_loss: float | None
    f1: float
    precision: float
    recall: float
    positive_share: float
    called_share: float = Field(description="Share of the rows that the positive class was called of.")
    rows: float

    example: ClassVar[dict[str, Any]] = _SCORES


class WeekScores(Scores):
    """Metrics on the rows of one week."""

    week: str = Field(json_schema_extra={"format": "date"}, description="Its Monday.")


class Weeks(Told):
    """A version's metrics, week by week."""

    version: str
    weeks: list[WeekScores] = Field(description="Those with enough rows of both classes.")
    warnings: list[str]

    example: ClassVar[dict[str, Any]] = {
        "version": "2",
        "weeks": [{"week": "2024-02-05", **_SCORES}],
        "warnings": [],
    }
