"""What the comparison of two versions answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from core.service import Told
from training.answers import Scores


class ComparedRows(Told):
    """The rows that both are compared on."""

    count: int
    from_: datetime = Field(alias="from")
    until: datetime


class Roc(Told):
    """The ROC curve, from the highest threshold to the lowest."""

    false_positive_rate: list[float]
    true_positive_rate: list[float]


class PrecisionRecall(Told):
    """Precision over recall, from the highest threshold to the lowest."""

    recall: list[float]
    precision: list[float]


class Curves(Told):
    """Both curves; empty where one class alone occurs."""

    roc: Roc
    precision_recall: PrecisionRecall


class CalibrationGroup(Told):
    """What was predicted of a group of rows, and what came."""

    predicted: float
    observed: float


class Importance(Told):
    """By how much AUC falls when a feature is shuffled."""

    feature: str
    importance: float


class ComparedVersion(Told):
    """One of the versions."""

    version: str
    roles: list[str]
    registered_at: datetime
    candidate: str | None
    threshold: float
    metrics: Scores
    curves: Curves
    calibration: list[CalibrationGroup]
    importance: list[Importance] = Field(description="The largest first.")
    lineage: dict[str, Any]


class Gain(Told):
    """By how much `a` is better than `b` in a metric, with the 95 % interval of that."""

    gain: float | None
    low: float | None
    high: float | None
    beyond_noise: bool


class ComparedSlice(Told):
    """Both on the rows of one slice: `a`, then `b`."""

    slice: str
    value: str
    rows: float
    auc: list[float | None] = Field(min_length=2, max_length=2)
    brier: list[float | None] = Field(min_length=2, max_length=2)


class Difference(Told):
    """A parameter, or something of the lineage, that is not the same; null where one has none."""

    what: str
    a: str | None
    b: str | None


class Comparison(Told):
    """Two versions on the same test rows."""

    problem: str
    rows: ComparedRows
    versions: list[ComparedVersion] = Field(min_length=2, max_length=2, description="`a`, then `b`.")
    gains: dict[str, Gain] = Field(description="Metric -> gain.")
    slices: list[ComparedSlice]
    differences: list[Difference]
    warnings: list[str]

    example: ClassVar[dict[str, Any]] = {
        "problem": "Will a payment be missed?",
        "rows": {"count": 500, "from": "2024-02-01T00:00:00Z", "until": "2024-02-29T00:00:00Z"},
        "versions": [
            {
                "version": version,
                "roles": roles,
                "registered_at": "2026-01-01T00:00:00Z",
                "candidate": "catboost",
                "threshold": 0.3,
                "metrics": Scores.example,
                "curves": {
                    "roc": {"false_positive_rate": [0.0, 0.2, 1.0], "true_positive_rate": [0.0, 0.6, 1.0]},
                    "precision_recall": {"recall": [0.0, 0.5, 1.0], "precision": [1.0, 0.4, 0.12]},
                },
                "calibration": [{"predicted": 0.1, "observed": 0.11}],
                "importance": [{"feature": "amount", "importance": 0.05}],
                "lineage": {"data_version": "9f86d081884c7d65", "git_commit": None},
            }
            for version, roles in (("2", ["champion"]), ("1", ["previous"]))
        ],
        "gains": {"auc": {"gain": 0.02, "low": 0.01, "high": 0.03, "beyond_noise": True}},
        "slices": [{"slice": "region", "value": "north", "rows": 250.0, "auc": [0.74, 0.72], "brier": [0.09, 0.1]}],
        "differences": [{"what": "depth", "a": "8", "b": None}],
        "warnings": [],
    }
