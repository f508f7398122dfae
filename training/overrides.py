"""What one training run may do differently: which candidates, with which parameters, learned from which rows.

Only what is listed here can be set from outside, within these bounds: the libraries' other parameters write files, run
code, or take all memory. ``params.yaml`` is the repository's own, and free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core.errors import InvalidRequest
from core.windows import as_utc
from training.candidates import CANDIDATES
from training.params import TrainParams


@dataclass(frozen=True)
class Tunable:
    """One parameter of a candidate that a run may set.

    Attributes
    ----------
    kind : type
        ``int`` or ``float``.
    least, most : float
        Bounds, both allowed.
    meaning : str
        One line for a form.
    """

    kind: type[int] | type[float]
    least: float
    most: float
    meaning: str

    def check(self, name: str, value: Any) -> int | float:
        """Return the value as its kind.

        Raises
        ------
        ValueError
            Naming the parameter, the value and the bounds.
        """
        good = isinstance(value, int | float) and not isinstance(value, bool) and self.least <= value <= self.most
        if not good or (self.kind is int and int(value) != value):
            kind = "a whole number" if self.kind is int else "a number"
            raise ValueError(f"{name} must be {kind} from {self.least:g} to {self.most:g}, not {str(value)[:40]!r}")
        return self.kind(value)


_RATE = Tunable(float, 0.001, 1, "Step of each round")
TUNABLE: dict[str, dict[str, Tunable]] = {
    "logistic": {
        "C": Tunable(float, 1e-6, 1e6, "Inverse of the regularization's strength"),
        "max_iter": Tunable(int, 10, 10_000, "Steps of the solver, at most"),
    },
    "hist_gradient_boosting": {
        "learning_rate": _RATE,
        "max_iter": Tunable(int, 1, 2000, "Rounds"),
        "max_leaf_nodes": Tunable(int, 2, 1024, "Leaves of a tree, at most"),
        "min_samples_leaf": Tunable(int, 1, 100_000, "Rows of a leaf, at least"),
        "l2_regularization": Tunable(float, 0, 1e6, "L2 regularization"),
        "max_bins": Tunable(int, 2, 255, "Bins of a number"),
    },
    "catboost": {
        "iterations": Tunable(int, 1, 5000, "Rounds, at most; it stops early"),
        "learning_rate": _RATE,
        "depth": Tunable(int, 1, 10, "Depth of a tree"),
        "l2_leaf_reg": Tunable(float, 0, 1e6, "L2 regularization"),
        "border_count": Tunable(int, 1, 255, "Borders of a number"),
        "one_hot_max_size": Tunable(int, 2, 255, "Categories up to which a column is one-hot"),
        "early_stopping_rounds": Tunable(int, 1, 1000, "Rounds without a gain after which it stops"),
        "random_strength": Tunable(float, 0, 100, "Randomness in scoring splits"),
        "bagging_temperature": Tunable(float, 0, 100, "Randomness of the rows' weights"),
    },
}


class Overrides(BaseModel):
    """What one run does differently from ``params.yaml`` and ``problem.yaml``; empty for a plain run.

    Attributes
    ----------
    candidates : list of str, optional
        Candidates to train instead of the problem's.
    params : dict
        Candidate -> parameter -> value, of :data:`TUNABLE`.
    since, until : datetime, optional
        Bounds ``[since, until)`` on the moments of prediction that are *learned* from. Validation and test rows stay
        the newest ones: a gate that compared on other rows would say nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidates: list[str] | None = Field(None, min_length=1, max_length=10)
    params: dict[str, dict[str, Any]] = {}
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def checked(cls, **given: Any) -> Self:
        """Read what somebody asks for.

        Raises
        ------
        InvalidRequest
            Naming the field, what is wrong with it, and what is allowed.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"][:1]) or "the run"
            raise InvalidRequest(f"{field}: {first['msg'].removeprefix('Value error, ')}.") from error

    @field_validator("candidates")
    @classmethod
    def _known(cls, value: list[str] | None) -> list[str] | None:
        for name in value or []:
            if name not in CANDIDATES:
                raise ValueError(f"there is no candidate {name[:40]!r}; there are {', '.join(CANDIDATES)}")
        return list(dict.fromkeys(value)) if value is not None else None

    @field_validator("params")
    @classmethod
    def _tunable(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        out: dict[str, dict[str, Any]] = {}
        for candidate, settings in value.items():
            if candidate not in TUNABLE:
                raise ValueError(f"there is no candidate {candidate[:40]!r}; there are {', '.join(TUNABLE)}")
            for name, given in settings.items():
                if name not in TUNABLE[candidate]:
                    known = ", ".join(TUNABLE[candidate])
                    raise ValueError(f"{candidate} has no parameter {name[:40]!r} to set; it has {known}")
                checked = TUNABLE[candidate][name].check(f"{candidate}.{name}", given)
                out.setdefault(candidate, {})[name] = checked
        return out

    @field_validator("since", "until")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        return None if value is None else as_utc(value)

    @model_validator(mode="after")
    def _in_order(self) -> Overrides:
        if self.since and self.until and self.since >= self.until:
            raise ValueError(f"since, {self.since.isoformat()}, must be before until, {self.until.isoformat()}")
        return self

    @property
    def plain(self) -> bool:
        """Whether nothing is overridden."""
        return self == Overrides()

    def apply(self, params: TrainParams, candidates: Sequence[str]) -> tuple[TrainParams, list[str]]:
        """Return the run's parameters and candidates.

        Raises
        ------
        InvalidRequest
            When a parameter is set of a candidate that is not trained.
        """
        chosen = self.candidates or list(candidates)
        if idle := [name for name in self.params if name not in chosen]:
            raise InvalidRequest(
                f"Parameters of {idle[0]} are set, but only {', '.join(chosen)} will be trained.",
                hint=f"Name it as a candidate too: --candidate {idle[0]}",
            )
        changed = {name: {**getattr(params, name), **settings} for name, settings in self.params.items()}
        return params.model_copy(update=changed), chosen

    def tags(self) -> dict[str, str]:
        """Return what is overridden, flat, for a run's tags."""
        flat = {f"{c}.{n}": v for c, settings in self.params.items() for n, v in settings.items()}
        shown = {"candidates": self.candidates and ",".join(self.candidates), "since": self.since, "until": self.until}
        return {f"override.{k}": str(v) for k, v in {**shown, **flat}.items() if v is not None}


def parse_settings(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``catboost.depth=8`` and the like.

    Raises
    ------
    InvalidRequest
        When a text has no such form.
    """
    out: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        candidate, dot, parameter = name.strip().partition(".")
        if not (equals and dot and parameter):
            raise InvalidRequest(f"--set {text!r} cannot be read.", hint="Write it as in --set catboost.depth=8")
        try:
            out.setdefault(candidate, {})[parameter] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InvalidRequest(f"--set {text!r} has no value that can be read.", hint="Give a number.") from error
    return out


def options(params: TrainParams, candidates: Sequence[str]) -> dict[str, Any]:
    """Return what a form needs: every candidate, its parameters with bounds and defaults, and which are trained."""
    return {
        "candidates": {
            name: {
                "default": name in candidates,
                "parameters": {
                    parameter: {
                        "type": "integer" if t.kind is int else "number",
                        "minimum": t.least,
                        "maximum": t.most,
                        "default": _default(params, name, parameter),
                        "description": t.meaning,
                    }
                    for parameter, t in tunables.items()
                },
            }
            for name, tunables in TUNABLE.items()
        }
    }


def _default(params: TrainParams, candidate: str, parameter: str) -> Any:
    mine: Mapping[str, Any] = getattr(params, candidate)
    return mine.get(parameter)
