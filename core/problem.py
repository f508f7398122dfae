"""``problem.yaml``: what to predict, and the rules that a model must pass."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from core.errors import ConfigError
from core.windows import Window, as_utc

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str | timedelta) -> timedelta:
    """Read ``30s``, ``15m``, ``6h``, ``7d`` or ``2w``.

    Raises
    ------
    ValueError
        When the text is none of these.
    """
    if isinstance(text, timedelta):
        return text
    match = re.fullmatch(r"\s*(\d+)\s*([smhdw])\s*", str(text))
    if not match:
        raise ValueError(f"{text!r} is not a duration; write a number and one of s, m, h, d, w, as in 6h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _moment(value: Any) -> Any:
    # YAML reads a bare 2013-01-01 as a date, which pydantic would read as midnight local time.
    return f"{value}T00:00:00+00:00" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(value)) else value


def _schedule(value: Any) -> Any:
    return value if value in ("weekly", "monthly") else parse_duration(value)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Schedule = Annotated[Literal["weekly", "monthly"] | timedelta, BeforeValidator(_schedule)]
Moment = Annotated[datetime, BeforeValidator(_moment), AfterValidator(as_utc)]
Metric = Literal["auc", "average_precision", "brier", "log_loss", "f1", "precision", "recall"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Part):
    """Which raw windows to fetch, and which clock the problem lives on."""

    start: Moment
    initial_until: Moment
    step: Duration = timedelta(days=7)
    end: Moment | None = None
    clock: Literal["system", "replay"] = "system"

    @property
    def initial(self) -> Window:
        """The first window: ``[start, initial_until)``."""
        return Window(self.start, self.initial_until)


class Label(_Part):
    """The binary label column of ``spine.sql`` and what its two classes are called."""

    column: str = "label"
    positive: str = "yes"
    negative: str = "no"


class Split(_Part):
    """Time-ordered split, newest rows last: fractions of the *time span*'s rows for validation and test."""

    validation: float = Field(0.15, gt=0, lt=0.5)
    test: float = Field(0.15, gt=0, lt=0.5)


class Cost(_Part):
    """What a wrong call costs, in any one unit: it sets the decision threshold."""

    false_positive: float = Field(1.0, gt=0)
    false_negative: float = Field(1.0, gt=0)


class Gate(_Part):
    """What a challenger must reach on the test rows to become champion."""

    metric: Literal["auc", "average_precision", "brier", "log_loss"] = "auc"
    floors: dict[Metric, float] = {}
    ceilings: dict[Metric, float] = {}
    min_gain: float = Field(0.0, description="How much better than the champion on the same test rows.")


class Drift(_Part):
    """Thresholds of the drift tests, used by monitoring; docs/drift.md says why these."""

    share: float = Field(0.3, gt=0, le=1, description="Drifted features, of those that count, that make it drift.")
    psi: float = Field(0.2, gt=0, description="Population stability index from which on a column has moved.")
    alpha: float = Field(0.05, gt=0, lt=1, description="How probable a move by chance may be, over all features.")
    max_drop: float = Field(0.02, gt=0, description="How much worse than on the test rows AUC or Brier score may be.")
    min_rows: int = Field(500, ge=1, description="Predictions, and labels, below which nothing is said.")
    max_rows: int = Field(20_000, ge=1, description="Predictions that are looked at; more are drawn from.")
    ignore: list[str] = Field([], description="Features whose values move by themselves: the calendar, the season.")


class Retraining(_Part):
    """When monitoring has a model trained anew, and what that model must show before it takes over."""

    schedule: Schedule | None = Field(None, description="Train this long after the last training.")
    on_drift: bool = Field(True, description="Train when the drift test says drift.")
    on_performance: bool = Field(True, description="Train when that test says that performance dropped.")
    new_rows: int | None = Field(None, ge=1, description="Train when so many labelled predictions are new.")
    cooldown: Duration = Field(timedelta(days=7), description="No second training within this time.")
    min_rows: int = Field(500, ge=1, description="Labelled predictions that any trigger, and any judgement, needs.")
    window: Duration = Field(timedelta(days=28), description="Age of the oldest labelled prediction to judge by.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of the intervals that decide.")
    rollback: bool = Field(True, description="Roll back a promoted model that does worse than the one before it.")


class Problem(_Part):
    """The whole of ``problem.yaml``.

    Attributes
    ----------
    name : str
        Also the registered model's name in MLflow: lower case letters, digits, ``-`` and ``_``.
    entity : str
        The Feast entity that clients predict by.
    feature_service : str
        The Feast feature service that the model is trained on and served with.
    key_features : list of str
        Columns of the spine (join keys, say) that the model sees beside the features of the service.
    slices : list of str
        Columns of the training set to report metrics by.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")
    title: str = ""
    entity: str
    feature_service: str
    data: Data
    label: Label = Label()
    split: Split = Split()
    cost: Cost = Cost()
    candidates: list[str] = Field(["logistic", "hist_gradient_boosting", "catboost"], min_length=1)
    key_features: list[str] = []
    slices: list[str] = []
    gate: Gate = Gate()
    drift: Drift = Drift()
    retraining: Retraining = Retraining()

    @model_validator(mode="after")
    def _windows_make_sense(self) -> Problem:
        if self.data.end is not None and self.data.end < self.data.initial_until:
            raise ValueError("data.end lies before data.initial_until")
        return self

    @classmethod
    def load(cls, path: Path) -> Problem:
        """Read and check ``problem.yaml``.

        Raises
        ------
        ConfigError
            Naming the file, the field, its value and what is allowed.
        """
        if not path.is_file():
            raise ConfigError(
                f"There is no {path}.",
                hint="A feature repo needs a problem.yaml; docs/feature-repo.md shows one.",
            )
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ConfigError(f"{path} is not YAML: {error}", hint="Mend the line it names.") from error
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ConfigError(
                f"{path}: {field}: {first['msg']} (got {first.get('input')!r}).",
                hint="docs/feature-repo.md explains every field.",
            ) from error
