"""Why a prediction came out as it did: what each feature added to the raw score of the model that made it.

The numbers are exact, or they are not given: SHAP values of CatBoost's trees, the terms of a linear model.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import Conflict, DataError, ModelUnavailable
from core.estimators import CatBoostOnCodes
from core.model import HEADER
from serving import lineage, model_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.layout import Layout
    from core.model import PredictionModel

_TOLERANCE = 1e-6
# What scikit-learn calls the columns that come of input column 3: numbers__x3, numbers__missingindicator_x3, …__x3_7.0
_INPUT = re.compile(r"^\w+?__(?:missingindicator_)?x(\d+)(?:_|$)")


class Explainer:
    """Explains logged predictions with the model that made each: the one that serves, or its local copy.

    Parameters
    ----------
    layout : Layout
        Where log and models are.
    serving : callable
        Gives the model that serves, which is in memory already; None while there is none.
    """

    def __init__(self, layout: Layout, serving: Callable[[], PredictionModel | None]) -> None:
        self._layout, self._serving = layout, serving
        self._other: tuple[tuple[str, int], PredictionModel] | None = None  # the last one beside it: a model is large
        self._lock = threading.Lock()

    def explain(self, prediction_id: str, *, asked_by: str | None = None) -> dict[str, Any]:
        """Return a prediction with what made it, the largest contribution first; ``asked_by`` as in ``lineage.find``.

        Raises
        ------
        UnknownEntity
            When the log holds no such id.
        Conflict
            When the model has no exact explanation, or its copy is no longer here.
        """
        record = lineage.find(self._layout, prediction_id, asked_by=asked_by)
        model = self._model(record["model_version"])
        features = record["features"]
        matrix = model.matrix({feature.name: [features[feature.name]] for feature in model.features})
        method, terms, base = contributions(model, matrix)
        raw = base + float(terms.sum())
        _check(model, matrix, raw)
        order = np.argsort(-np.abs(terms), kind="stable")
        names = [feature.name for feature in model.features]
        return {
            "prediction_id": prediction_id,
            "class": record["class"],
            "probability": record["probability"],
            "model_version": record["model_version"],
            "entity": record["entity"],
            "predicted_at": record["predicted_at"],
            "features_as_of": record["features_as_of"],
            "explanation": {
                "method": method,
                "scale": "log-odds of the raw probability, before calibration",
                "base_value": base,
                "raw_score": raw,
                "raw_probability": float(1 / (1 + np.exp(-raw))),
                "contributions": [
                    {"feature": names[i], "value": features[names[i]], "contribution": float(terms[i])} for i in order
                ],
            },
            "lineage": record["lineage"],
        }

    def _model(self, version: str) -> PredictionModel:
        serving = self._serving()
        if serving is not None and serving.version == version:
            return serving
        header = self._layout.models / version / HEADER
        try:
            key = (version, header.stat().st_mtime_ns)
            with self._lock:
                if self._other is None or self._other[0] != key:
                    self._other = None  # before the next is loaded: never two
                    self._other = (key, model_store.load(self._layout, version))
                return self._other[1]
        except (FileNotFoundError, ModelUnavailable) as error:
            raise Conflict(
                f"The model {version} that made this prediction cannot be opened here: {error}.",
                hint="Fetch it from the registry by promoting it, or restore its folder.",
            ) from error


def contributions(model: PredictionModel, matrix: np.ndarray) -> tuple[str, np.ndarray, float]:
    """Return the method, what each feature adds to the raw score of a matrix' only row, and what it is added to.

    Raises
    ------
    Conflict
        When the estimator has no exact explanation.
    """
    estimator = model.estimator
    if isinstance(estimator, CatBoostOnCodes):
        terms, base = estimator.contributions(matrix)
        return "SHAP values of CatBoost", terms[0], base
    linear = _linear(estimator)
    if linear is not None:
        terms, base = _linear_terms(*linear, matrix)
        return "terms of the linear model", terms, base
    raise Conflict(
        f"The model {model.version} ({type(estimator).__name__}) has no exact explanation.",
        hint="CatBoost and logistic regression have one.",
    )


def _linear(estimator: Any) -> tuple[Any, Any] | None:
    """Return (columns, regression) of a pipeline of exactly these two."""
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    if not isinstance(estimator, Pipeline) or len(estimator.steps) != 2:
        return None
    columns, regression = (step for _, step in estimator.steps)
    fits = isinstance(columns, ColumnTransformer) and isinstance(regression, LogisticRegression)
    return (columns, regression) if fits else None


def _linear_terms(columns: Any, regression: Any, matrix: np.ndarray) -> tuple[np.ndarray, float]:
    row = columns.transform(matrix)
    row = np.asarray(row.todense() if hasattr(row, "todense") else row).ravel()
    terms = np.zeros(matrix.shape[1])
    for name, value in zip(columns.get_feature_names_out(), row * regression.coef_[0], strict=True):
        match = _INPUT.match(name)
        if match is None:
            raise Conflict(f"The linear model's column {name!r} is of no single feature.")
        terms[int(match[1])] += value
    return terms, float(regression.intercept_[0])


def _check(model: PredictionModel, matrix: np.ndarray, raw: float) -> None:
    """Make sure that the contributions add up to what the model says.

    Raises
    ------
    DataError
        When they do not.
    """
    said = float(model.estimator.predict_proba(matrix)[0, 1])
    summed = float(1 / (1 + np.exp(-raw)))
    if abs(said - summed) > _TOLERANCE:
        raise DataError(f"The contributions give a raw probability of {summed:.9f}, the model says {said:.9f}.")
