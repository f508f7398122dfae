"""What the data service's routes answer; what rows hold, the tables say."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from core.client import Layer
from core.service import Told
from ingestion.flow import Trigger

_VERSION = "9f86d081884c7d65"
_WINDOW = "20240301T000000Z_20240308T000000Z"


class Preview(Told):
    """Rows of a table."""

    table: str
    layer: Layer
    columns: dict[str, str] = Field(description="Column -> type, in the order of the table.")
    total: int = Field(description="How many rows fulfil the conditions.")
    rows: list[dict[str, Any]] = Field(description="Some of them, each column -> value; null where it is missing.")

    example: ClassVar[dict[str, Any]] = {
        "table": "payments",
        "layer": "valid",
        "columns": {"loan_id": "BIGINT", "amount": "DOUBLE"},
        "total": 1340,
        "rows": [{"loan_id": 3000, "amount": 120.0}, {"loan_id": 3001, "amount": None}],
    }


class Part(Told):
    """A part of a histogram."""

    from_: float = Field(alias="from")
    to: float = Field(description="Exclusive, but in the last part.")
    rows: int


class Frequent(Told):
    """A value, and how often it is there."""

    value: Any
    rows: int


class Column(Told):
    """What is in a column; what only numbers have is null for others."""

    column: str
    type: str
    count: int = Field(description="Values that are there.")
    missing: float | None = Field(ge=0, le=1, description="Share of the rows; null without rows.")
    distinct: int
    least: Any
    most: Any
    mean: float | None
    quantiles: dict[str, float | None] | None = Field(description="Share -> value.")
    histogram: list[Part] | None
    frequent: list[Frequent] = Field(description="The most frequent first.")


class Profile(Told):
    """What is in each column of a table."""

    table: str
    layer: Layer
    rows: int = Field(description="How many fulfil the conditions.")
    columns: list[Column]

    example: ClassVar[dict[str, Any]] = {
        "table": "payments",
        "layer": "valid",
        "rows": 4,
        "columns": [
            {
                "column": "amount",
                "type": "DOUBLE",
                "count": 3,
                "missing": 0.25,
                "distinct": 2,
                "least": 100.0,
                "most": 120.0,
                "mean": 106.7,
                "quantiles": {"0.05": 100.0, "0.25": 100.0, "0.5": 100.0, "0.75": 120.0, "0.95": 120.0},
                "histogram": [{"from": 100.0, "to": 110.0, "rows": 2}, {"from": 110.0, "to": 120.0, "rows": 1}],
                "frequent": [{"value": 100.0, "rows": 2}, {"value": 120.0, "rows": 1}],
            }
        ],
    }


class Ids(Told):
    """Ids, each once, the newest first."""

    view: str = Field(description="The feature view that was looked at.")
    key: str
    ids: list[Any] = Field(description="Of the key's type.")
    whole: bool = Field(description="Whether there are no others.")

    example: ClassVar[dict[str, Any]] = {"view": "loan_terms", "key": "loan_id", "ids": [3001, 3000], "whole": False}


class VersionWindow(Told):
    """A window of a data version."""

    window: str
    since: datetime
    until: datetime
    rows: dict[str, int] = Field(description="Table -> rows.")
    quarantined: dict[str, int] | None = Field(description="Table -> bad rows; null until it is checked.")


class DataVersion(Told):
    """What the data was at a time; moment, author and job are null until somebody notes it."""

    version: str
    windows: list[VersionWindow]
    rows: dict[str, int] = Field(description="Table -> rows of all windows.")
    dvc_lock: str | None = Field(description="SHA-256 of dvc.lock; null without DVC.")
    git_commit: str | None
    created_at: datetime | None
    actor: str | None
    job: str | None
    current: bool


class DataVersions(Told):
    """Data versions, the newest first."""

    versions: list[DataVersion]

    example: ClassVar[dict[str, Any]] = {
        "versions": [
            {
                "version": _VERSION,
                "windows": [
                    {
                        "window": _WINDOW,
                        "since": "2024-03-01T00:00:00Z",
                        "until": "2024-03-08T00:00:00Z",
                        "rows": {"payments": 1340},
                        "quarantined": {"payments": 2},
                    }
                ],
                "rows": {"payments": 1340},
                "dvc_lock": None,
                "git_commit": None,
                "created_at": "2026-01-01T00:00:00Z",
                "actor": "anna",
                "job": "import-0123456789abcdef0123",
                "current": True,
            }
        ]
    }


class TableChecked(Told):
    """What the validation of a table found."""

    rows: int
    quarantined: int
    reasons: dict[str, int] = Field(description="Why rows are bad -> how many.")
    warnings: dict[str, int] = Field(description="What is only noted -> how many.")


class WindowChecked(Told):
    """What the validation of a window found."""

    window: str
    tables: dict[str, TableChecked]


class Reports(Told):
    """Reports of validation, the newest window first."""

    reports: list[WindowChecked]

    example: ClassVar[dict[str, Any]] = {
        "reports": [
            {
                "window": _WINDOW,
                "tables": {
                    "payments": {
                        "rows": 1340,
                        "quarantined": 2,
                        "reasons": {"amount must not be missing": 2},
                        "warnings": {},
                    }
                },
            }
        ]
    }


class ViewMade(Told):
    """What a feature view is made of."""

    name: str
    tables: list[str]
    views: list[str] = Field(description="What an on-demand view computes from.")
    inputs: list[str] = Field(description="What a request gives it.")
    features: int
    used: int = Field(description="How many of them the feature service has.")


class Spine(Told):
    """Where labelled rows come from."""

    tables: list[str]


class Made(Told):
    """What is made of what, as it is defined now."""

    tables: list[str] = Field(description="The raw tables.")
    views: list[ViewMade]
    feature_service: str | None = Field(description="Null until the definitions are applied.")
    spine: Spine
    data_version: str

    example: ClassVar[dict[str, Any]] = {
        "tables": ["loans", "payments"],
        "views": [
            {
                "name": "customer_payments",
                "tables": ["payments"],
                "views": [],
                "inputs": [],
                "features": 4,
                "used": 3,
            }
        ],
        "feature_service": "missed_payment",
        "spine": {"tables": ["loans", "payments"]},
        "data_version": _VERSION,
    }


class FlowRun(Told):
    """A run of the flow."""

    id: str
    trigger: Trigger
    actor: str
    started_at: datetime
    ended_at: datetime | None
    status: Literal["running", "done", "failed", "cancelled"]
    data_version: str | None
    model_version: str | None
    result: dict[str, Any] = Field(description="What came of it; empty while it runs.")


class FlowRunList(Told):
    """Runs of the flow, the newest first."""

    runs: list[FlowRun]

    example: ClassVar[dict[str, Any]] = {
        "runs": [
            {
                "id": "flow-0123456789abcdef0123",
                "trigger": "hand",
                "actor": "anna",
                "started_at": "2026-01-01T00:00:00Z",
                "ended_at": "2026-01-01T00:05:00Z",
                "status": "done",
                "data_version": _VERSION,
                "model_version": "2",
                "result": {"outcome": "promoted", "data_version": _VERSION, "model_version": "2"},
            }
        ]
    }
