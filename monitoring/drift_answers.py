"""What the routes of drift tests answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from core.service import Told
from monitoring.drift_reports import Verdict

_WINDOW = {"since": "2024-03-01T00:00:00Z", "until": "2024-03-08T00:00:00Z", "made_at": "2026-01-01T00:00:00Z"}
_SAID = ["1 of 12 features drifted; the predictions are within what is usual."]


class ReportInShort(Told):
    """A drift report in short."""

    id: str
    model_version: str
    since: datetime = Field(description="Begin of the window, on the problem's clock.")
    until: datetime = Field(description="Its end, exclusive.")
    made_at: datetime = Field(description="On the machine's clock.")
    rows: int = Field(description="Predictions of the version in the window.")
    sampled: int = Field(description="How many of them were looked at.")
    verdict: Verdict
    share: float = Field(ge=0, le=1, description="Of the features that count, how many drifted.")
    reasons: list[str]
    drifted: list[str] = Field(description="Names of the features that did.")
    has_page: bool = Field(description="Whether there is a page to download.")

    example: ClassVar[dict[str, Any]] = {
        "id": "20240301T000000Z_20240308T000000Z-v2",
        "model_version": "2",
        **_WINDOW,
        "rows": 1500,
        "sampled": 1500,
        "verdict": "no drift",
        "share": 0.083,
        "reasons": _SAID,
        "drifted": ["amount"],
        "has_page": True,
    }


class ReportList(Told):
    """Drift reports in short, the newest window first."""

    reports: list[ReportInShort]

    example: ClassVar[dict[str, Any]] = {"reports": [ReportInShort.example]}


class ColumnTested(Told):
    """What the tests found of one feature, or of the predictions."""

    name: str
    kind: Literal["numeric", "categorical"]
    test: str = Field(description="The tests of its values.")
    effect: float | None = Field(description="How far the distribution moved; null with too few values.")
    threshold: float = Field(description="From where on that is much.")
    p_value: float | None
    adjusted_p: float | None = Field(description="Adjusted for the number of columns.")
    drifted: bool
    missing_reference: float = Field(description="Share of the rows without a value.")
    missing_current: float
    missing_jump: bool
    unknown_jump: bool
    frozen: bool
    ignored: bool
    new_categories: list[str]
    words: str

    example: ClassVar[dict[str, Any]] = {
        "name": "amount",
        "kind": "numeric",
        "test": "population stability index, Kolmogorov-Smirnov",
        "effect": 0.31,
        "threshold": 0.2,
        "p_value": 1e-6,
        "adjusted_p": 1.2e-5,
        "drifted": True,
        "missing_reference": 0.0,
        "missing_current": 0.0,
        "missing_jump": False,
        "unknown_jump": False,
        "frozen": False,
        "ignored": False,
        "new_categories": [],
        "words": "amount: values moved (index 0.31, limit 0.20; p 1.2e-05).",
    }


class MetricTested(Told):
    """A metric of the window against that of the test rows."""

    reference: float
    current: float
    worse: float = Field(description="By how much.")
    low: float = Field(description="Of the 95 % interval of that.")
    high: float
    p_value: float
    adjusted_p: float
    drifted: bool


class PerformanceTested(Told):
    """Whether the model does worse than on its test rows."""

    rows: int = Field(description="Predictions whose label is known.")
    positives: int
    compared_with: str | None = Field(description="How long the windows of the test rows are; null for all of these.")
    window: str | None = Field(description="Whose labels these are, where it is an earlier window.")
    auc: MetricTested
    brier: MetricTested
    drifted: bool
    words: str

    example: ClassVar[dict[str, Any]] = {
        "rows": 1400,
        "positives": 160,
        "compared_with": "week",
        "window": None,
        **{
            metric: {
                "reference": before,
                "current": now,
                "worse": 0.01,
                "low": -0.02,
                "high": 0.04,
                "p_value": 0.2,
                "adjusted_p": 0.4,
                "drifted": False,
            }
            for metric, before, now in (("auc", 0.75, 0.74), ("brier", 0.09, 0.1))
        },
        "drifted": False,
        "words": "AUC 0.740, 0.750 in windows of week of the test rows: no worse than usual.",
    }


class DriftReport(Told):
    """A drift report: every feature, the predictions, and how good they were."""

    id: str
    model_version: str
    since: datetime
    until: datetime
    made_at: datetime
    rows: int
    sampled: int
    verdict: Verdict
    share: float = Field(ge=0, le=1)
    features: list[ColumnTested] = Field(description="In the model's order; empty with too few rows.")
    prediction: ColumnTested | None
    performance: PerformanceTested | None = Field(description="Null without enough labels.")
    reasons: list[str]
    notes: list[str] = Field(description="What it rests on.")

    example: ClassVar[dict[str, Any]] = {
        **{name: value for name, value in ReportInShort.example.items() if name not in ("drifted", "has_page")},
        "features": [ColumnTested.example],
        "prediction": None,
        "performance": PerformanceTested.example,
        "notes": ["The reference is all 12,000 rows of the training snapshot."],
    }
