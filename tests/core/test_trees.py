"""A few rows are predicted from the trees as arrays: exactly as CatBoost predicts them, or by CatBoost itself."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from core.estimators import CatBoostOnCodes

ROWS = 400


def rows(numeric: int, categories: int, *, seed: int = 0, count: int = ROWS) -> np.ndarray:
    """Return coded rows: numbers with gaps, then two columns of category codes with gaps."""
    random = np.random.default_rng(seed)
    numbers = random.normal(scale=10, size=(count, numeric)).round(2)
    codes = random.integers(0, categories, size=(count, 2 if categories else 0)).astype(float)
    out = np.hstack((numbers, codes))
    out[random.random(out.shape) < 0.05] = np.nan
    return out


def fitted(x: np.ndarray, numeric: int, **params: Any) -> CatBoostOnCodes:
    y = (np.nan_to_num(x).sum(axis=1) + np.random.default_rng(1).normal(size=len(x)) > 5).astype(int)
    categorical = list(range(numeric, x.shape[1]))
    return CatBoostOnCodes(
        categorical, {"iterations": 40, "depth": 4, "random_seed": 3, "thread_count": 1, **params}
    ).fit(x, y)


def by_catboost(estimator: CatBoostOnCodes, x: np.ndarray) -> np.ndarray:
    """Return what CatBoost itself says, asked for all rows at once: more than are taken from the arrays."""
    return np.asarray(estimator.model_.predict_proba(estimator._pool(*estimator._split(x)), thread_count=1))


@pytest.mark.parametrize(
    ("numeric", "categories", "params"),
    [
        (5, 6, {"one_hot_max_size": 255}),
        (5, 0, {}),
        (0, 6, {"one_hot_max_size": 255}),
        (5, 6, {"one_hot_max_size": 255, "depth": 10}),
        (5, 6, {"one_hot_max_size": 255, "nan_mode": "Forbidden", "depth": 1}),
        (5, 6, {"one_hot_max_size": 255, "learning_rate": 2000}),  # so sure that an exponential overflows
    ],
)
def test_the_same_to_the_last_bit(numeric: int, categories: int, params: dict[str, Any]) -> None:
    x = rows(numeric, categories)
    if params.get("nan_mode") == "Forbidden":
        x[:, :numeric] = np.nan_to_num(x[:, :numeric])
    estimator = fitted(x, numeric, **params)
    assert estimator._trees is not None
    new = rows(numeric, categories + 3 if categories else 0, seed=5)  # some categories were never seen
    if params.get("nan_mode") == "Forbidden":
        new[:, :numeric] = np.nan_to_num(new[:, :numeric])
    expected = by_catboost(estimator, new)
    for size in (1, 2, 3, 32, 96, 128):
        said = np.vstack([estimator.predict_proba(new[i : i + size]) for i in range(0, 384, size)])
        np.testing.assert_array_equal(said, expected[: len(said)])
    np.testing.assert_array_equal(estimator.predict_proba(new), expected)


@pytest.mark.parametrize(
    "params",
    [
        {"one_hot_max_size": 2},  # statistics of the target by category
        {"one_hot_max_size": 255, "grow_policy": "Lossguide"},  # trees whose levels ask different questions
        {"one_hot_max_size": 255, "nan_mode": "Max"},
    ],
)
def test_a_model_of_more_than_that_is_left_to_catboost(params: dict[str, Any]) -> None:
    x = rows(5, 6)
    estimator = fitted(x, 5, **params)
    assert estimator._trees is None
    np.testing.assert_array_equal(estimator.predict_proba(x[:3]), by_catboost(estimator, x)[:3])


def test_arrays_that_say_something_else_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.trees import SymmetricTrees

    right = SymmetricTrees.predict_proba
    monkeypatch.setattr(SymmetricTrees, "predict_proba", lambda *given: right(*given) + 1e-16)
    assert fitted(rows(5, 6), 5, one_hot_max_size=255)._trees is None


def test_fitted_and_loaded_anew_they_are_made_anew() -> None:
    x = rows(5, 6)
    estimator = fitted(x, 5, one_hot_max_size=255)
    first = estimator.predict_proba(x[:1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(estimator)).predict_proba(x[:1]), first)
    estimator.fit(x, np.arange(len(x)) % 2)
    np.testing.assert_array_equal(estimator.predict_proba(x[:1]), by_catboost(estimator, x)[:1])
    assert not np.array_equal(estimator.predict_proba(x[:1]), first)


def test_nobody_asked_about() -> None:
    estimator = fitted(rows(5, 6), 5, one_hot_max_size=255)
    assert estimator.predict_proba(np.empty((0, 7))).shape == (0, 2)
