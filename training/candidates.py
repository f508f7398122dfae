"""The candidate models, each a scikit-learn estimator over the same coded matrix (see ``core.estimators``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from core.errors import ConfigError
from core.estimators import CatBoostOnCodes
from core.model import Feature
from training.params import TrainParams

Candidate = Callable[[list[Feature], TrainParams], Any]


def logistic(features: list[Feature], params: TrainParams) -> Any:
    """Logistic regression: medians for missing numbers (and a flag), one column a category."""
    numeric, categorical = _columns(features)
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler()
    )
    categories = make_pipeline(
        SimpleImputer(strategy="constant", fill_value=-1), OneHotEncoder(handle_unknown="ignore", min_frequency=20)
    )
    columns = ColumnTransformer([("numbers", numbers, numeric), ("categories", categories, categorical)])
    return make_pipeline(columns, LogisticRegression(random_state=params.seed, **params.logistic))


def hist_gradient_boosting(features: list[Feature], params: TrainParams) -> Any:
    """Histogram gradient boosting with native categories and missing values."""
    return HistGradientBoostingClassifier(
        categorical_features=_columns(features)[1],
        early_stopping=False,
        random_state=params.seed,
        **params.hist_gradient_boosting,
    )


def catboost(features: list[Feature], params: TrainParams) -> Any:
    """CatBoost with native categories; stops early on the validation part."""
    settings = {
        "random_seed": params.seed,
        "loss_function": "Logloss",
        "max_ctr_complexity": 1,
        "early_stopping_rounds": 40,
        "thread_count": -1,
        **params.catboost,
    }
    return CatBoostOnCodes(_columns(features)[1], settings)


CANDIDATES: dict[str, Candidate] = {
    "logistic": logistic,
    "hist_gradient_boosting": hist_gradient_boosting,
    "catboost": catboost,
}


def make(name: str, features: list[Feature], params: TrainParams) -> Any:
    """Return an unfitted candidate.

    Raises
    ------
    ConfigError
        When there is none of that name, or it has no such parameter.
    """
    if name not in CANDIDATES:
        raise ConfigError(f"There is no candidate {name!r}.", hint=f"There are: {', '.join(CANDIDATES)}.")
    try:
        return CANDIDATES[name](features, params)
    except TypeError as error:
        raise ConfigError(f"params.yaml: train.{name}: {error}.", hint="Use a parameter that it has.") from error


def fit(
    estimator: Any,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    say: Callable[[str], None] | None = None,
) -> Any:
    """Fit a candidate; the one that can stop early looks at the validation part for that, and tells of its rounds."""
    if isinstance(estimator, CatBoostOnCodes):
        return estimator.fit(*train, eval_set=validation, callbacks=[_Rounds(say)] if say else [])
    return estimator.fit(*train)


def refit(
    name: str, features: list[Feature], params: TrainParams, fitted: Any, rows: tuple[np.ndarray, np.ndarray]
) -> Any:
    """Fit a candidate anew to all rows that may be learned from; what stopped early stops at the round it found."""
    estimator = make(name, features, params)
    if isinstance(fitted, CatBoostOnCodes):
        rounds = {"iterations": fitted.model_.tree_count_, "early_stopping_rounds": None}
        estimator = CatBoostOnCodes(fitted.categorical, {**fitted.params, **rounds})
    return estimator.fit(*rows)


class _Rounds:
    """Tells of every tenth round of CatBoost, with the loss on the rows that it stops by."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def after_iteration(self, info: Any) -> bool:
        """Be called by CatBoost; go on."""
        if info.iteration % 10 == 0:
            held = info.metrics.get("validation", {}).get("Logloss", [])
            self._say(f"round {info.iteration}" + (f", validation log loss {held[-1]:.4f}" if held else ""))
        return True


def _columns(features: list[Feature]) -> tuple[list[int], list[int]]:
    numeric = [i for i, f in enumerate(features) if f.kind == "numeric"]
    return numeric, [i for i, f in enumerate(features) if f.kind == "categorical"]
