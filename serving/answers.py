"""What the prediction service's routes answer; what entities and features hold, the registry says."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from core.service import Told

_ID = "0005f1a2b3c4d5e0123456789abcdef0"
_AS_OF = {"customer_payments": "2024-02-29T23:00:00Z"}
_LINEAGE = {
    "model_version": "3",
    "version": "3",
    "feature_service": "missed_payment",
    "data_version": "9f86d081884c7d65",
}


class Prediction(Told):
    """One prediction; the fields that were sent come back with it."""

    model_config = ConfigDict(extra="allow")

    prediction_id: str = Field(description="Sorts by time; GET /predictions/{id} traces it.")
    class_: str = Field(alias="class")
    probability: float = Field(ge=0, le=1, description="Calibrated probability of the positive class.")
    model_version: str
    features_as_of: dict[str, datetime | None] = Field(
        description="Feature view -> when its values became known, UTC; null where nothing is known."
    )
    stale: list[str] = Field(description="Feature views that are older than they promise.")


class PredictResponse(Told):
    """As many predictions as entities, in their order."""

    predictions: list[Prediction]

    example: ClassVar[dict[str, Any]] = {
        "predictions": [
            {
                "prediction_id": _ID,
                "loan_id": 3000,
                "class": "paid",
                "probability": 0.12,
                "model_version": "3",
                "features_as_of": {**_AS_OF, "loan_terms": None},
                "stale": [],
            }
        ]
    }


class LocalModel(Told):
    """A version with a copy on this machine."""

    version: str
    threshold: float = Field(ge=0, le=1, description="Probability from which on the positive class is called.")
    classes: list[str] = Field(description="The negative one, the positive one.")
    schema_hash: str
    features: int = Field(description="How many.")
    lineage: dict[str, Any] = Field(description="What it was made of.")


class AvailableModels(Told):
    """The versions that this machine can serve, the newest first."""

    champion: str | None
    challenger: str | None
    serving: str | None = Field(description="The version that this process answers with.")
    models: list[LocalModel]

    example: ClassVar[dict[str, Any]] = {
        "champion": "3",
        "challenger": None,
        "serving": "3",
        "models": [
            {
                "version": "3",
                "threshold": 0.3,
                "classes": ["paid", "missed"],
                "schema_hash": "2c26b46b68ffc68f",
                "features": 12,
                "lineage": _LINEAGE,
            }
        ],
    }


class LearnedFrom(Told):
    """Some of the rows that a version learned from, a list a feature."""

    version: str
    rows: int = Field(ge=0, description="How long each list is.")
    features: dict[str, list[float | str | None]]

    example: ClassVar[dict[str, Any]] = {
        "version": "3",
        "rows": 2,
        "features": {"amount": [120.0, None], "region": ["north", "south"]},
    }


class Lineage(Told):
    """Where the model came from; without a copy of it here, its version alone."""

    model_config = ConfigDict(extra="allow")

    model_version: str


class TracedPrediction(Told):
    """A logged prediction, what it was made of, and where that came from."""

    prediction_id: str
    predicted_at: datetime = Field(description="On the problem's clock.")
    served_at: datetime = Field(description="On the machine's clock.")
    entity: dict[str, Any] = Field(description="Keys and inputs: what was sent, and what was looked up.")
    features: dict[str, Any] = Field(description="What the model was given.")
    features_as_of: dict[str, datetime | None]
    stale: list[str]
    probability: float = Field(ge=0, le=1)
    class_: str = Field(alias="class")
    model_version: str
    feature_service: str
    schema_hash: str
    correlation_id: str
    actor: str | None = Field(description="Who asked; null where that was not logged yet.")
    what_if: bool
    lineage: Lineage

    example: ClassVar[dict[str, Any]] = {
        "prediction_id": _ID,
        "predicted_at": "2024-03-01T00:00:00Z",
        "served_at": "2026-01-01T00:00:00Z",
        "entity": {"loan_id": 3000, "customer_id": 3},
        "features": {"amount": 120.0, "paid_share": None},
        "features_as_of": _AS_OF,
        "stale": [],
        "probability": 0.12,
        "class": "paid",
        "model_version": "3",
        "feature_service": "missed_payment",
        "schema_hash": "2c26b46b68ffc68f",
        "correlation_id": "0123456789abcdef",
        "actor": "key:the app",
        "what_if": False,
        "lineage": _LINEAGE,
    }


class Contribution(Told):
    """What one feature added to the raw score."""

    feature: str
    value: Any = Field(description="What the model was given; null where it is missing.")
    contribution: float


class Explanation(Told):
    """The raw score as a sum: the base value, and what each feature added to it."""

    method: str
    scale: str
    base_value: float
    raw_score: float
    raw_probability: float = Field(ge=0, le=1)
    contributions: list[Contribution] = Field(description="The largest first.")


class ExplainedPrediction(Told):
    """A prediction, and what each feature contributed to it."""

    prediction_id: str
    class_: str = Field(alias="class")
    probability: float = Field(ge=0, le=1)
    model_version: str
    entity: dict[str, Any]
    predicted_at: datetime
    features_as_of: dict[str, datetime | None]
    explanation: Explanation
    lineage: Lineage

    example: ClassVar[dict[str, Any]] = {
        "prediction_id": _ID,
        "class": "paid",
        "probability": 0.12,
        "model_version": "3",
        "entity": {"loan_id": 3000, "customer_id": 3},
        "predicted_at": "2024-03-01T00:00:00Z",
        "features_as_of": _AS_OF,
        "explanation": {
            "method": "SHAP values of CatBoost",
            "scale": "log-odds of the raw probability, before calibration",
            "base_value": -1.5,
            "raw_score": -2.0,
            "raw_probability": 0.1192,
            "contributions": [
                {"feature": "amount", "value": 120.0, "contribution": -0.4},
                {"feature": "paid_share", "value": None, "contribution": -0.1},
            ],
        },
        "lineage": _LINEAGE,
    }


class ViewPromise(Told):
    """What a feature view promises; null where it promises nothing."""

    freshness_seconds: float | None
    when_older: Literal["flag", "missing", "refuse"]
    ttl_seconds: float | None


class ViewValues(Told):
    """What one feature view knows of the entity."""

    status: Literal["present", "stale", "expired", "future", "not_found"]
    event_timestamp: datetime | None = Field(description="When the values became known.")
    age_seconds: float | None
    promise: ViewPromise
    values: dict[str, Any] = Field(description="Feature -> value; null where it is missing.")


class EntityFeatures(Told):
    """What the online store knows of an entity."""

    entity: dict[str, Any] = Field(description="The key that was asked for.")
    now: datetime = Field(description="What ages refer to, on the problem's clock.")
    keys: dict[str, Any] = Field(description="Keys and inputs that were looked up, and that one.")
    must_be_sent: list[str] = Field(description="Inputs that no feature view knows.")
    views: dict[str, ViewValues]

    example: ClassVar[dict[str, Any]] = {
        "entity": {"loan_id": 3000},
        "now": "2024-03-01T00:00:00Z",
        "keys": {"loan_id": 3000, "customer_id": 3},
        "must_be_sent": [],
        "views": {
            "customer_payments": {
                "status": "present",
                "event_timestamp": "2024-02-29T23:00:00Z",
                "age_seconds": 3600.0,
                "promise": {"freshness_seconds": 86400.0, "when_older": "flag", "ttl_seconds": None},
                "values": {"paid_share": 0.9},
            }
        },
    }
