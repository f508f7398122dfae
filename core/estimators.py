"""Estimators over one coded matrix, so that every candidate is trained and served through the same door.

A row is a vector of floats: numbers as they are, categories as codes, missing and unseen as NaN. scikit-learn
takes that directly; :class:`CatBoostOnCodes` gives CatBoost its own view of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np

from core.trees import SymmetricTrees, symmetric_trees

_MISSING = b"missing"
_A_FEW = 128  # rows, for which CatBoost's price of a call is more than its speed is worth
_FEW_ROWS = 2048


class CatBoostOnCodes:
    """CatBoost with its native treatment of categories, fed from coded columns.

    An estimator as scikit-learn's are, without its base classes: they would cost each process that serves 65 MB.

    Parameters
    ----------
    categorical : list of int
        Columns that hold category codes.
    params : dict
        Parameters of ``catboost.CatBoostClassifier``.
    """

    def __init__(self, categorical: list[int], params: dict[str, Any]) -> None:
        self.categorical = categorical
        self.params = params

    def fit(
        self,
        x: np.ndarray,
        y: np.ndarray,
        eval_set: tuple[np.ndarray, np.ndarray] | None = None,
        callbacks: Sequence[Any] = (),
    ) -> Self:
        """Fit on ``x`` (n, features) and 0/1 ``y`` (n,); with ``eval_set`` stop early and keep the best round.

        ``callbacks`` are CatBoost's: each has ``after_iteration(info) -> bool``.
        """
        from catboost import CatBoostClassifier

        self.classes_ = np.array([0, 1])
        self._prepare(x)
        self.__dict__.pop("_trees", None)
        model = CatBoostClassifier(**self.params, allow_writing_files=False, verbose=False)
        held = self._pool(*self._split(eval_set[0]), label=eval_set[1]) if eval_set is not None else None
        train = self._pool(*self._split(x), label=y)
        model.fit(train, eval_set=held, use_best_model=held is not None, callbacks=list(callbacks) or None)
        self.model_ = model
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return (n, 2) class probabilities."""
        numbers, places = self._split(x)
        if 0 < len(x) <= _A_FEW and self._trees is not None:
            return self._trees.predict_proba(numbers, places)
        # A team of threads for few rows waits longer for its slowest than the rows take.
        threads = 1 if len(x) < _FEW_ROWS else -1
        return np.asarray(self.model_.predict_proba(self._pool(numbers, places, threads), thread_count=threads))

    @cached_property
    def _trees(self) -> SymmetricTrees | None:
        return symmetric_trees(self.model_, self._names, self._pool, len(self._numeric), len(self.categorical))

    def __getstate__(self) -> dict[str, Any]:
        """Keep what was fitted; what was made of it is made again."""
        return {name: value for name, value in self.__dict__.items() if name != "_trees"}

    def contributions(self, x: np.ndarray) -> tuple[np.ndarray, float]:
        """Return what each input adds to the raw score (log-odds), and the score that they are added to.

        Exact SHAP values of the trees.

        Returns
        -------
        terms : array, shape (n, features)
            In the order of the matrix; a row and ``base`` sum to the row's raw score.
        base : float
            The model's mean raw score over what it was trained on.
        """
        pool = self._pool(*self._split(x))
        shap = np.asarray(self.model_.get_feature_importance(pool, type="ShapValues", thread_count=1))
        terms = np.empty((len(x), shap.shape[1] - 1))
        terms[:, [*self._numeric, *self.categorical]] = shap[:, :-1]
        return terms, float(shap[0, -1])

    @property
    def feature_importances_(self) -> np.ndarray:
        """Importance of each input column, in the order of the matrix."""
        out = np.empty(len(self._numeric) + len(self.categorical))
        out[[*self._numeric, *self.categorical]] = self.model_.get_feature_importance()
        return out

    def _prepare(self, x: np.ndarray) -> None:
        self._numeric = [i for i in range(x.shape[1]) if i not in set(self.categorical)]
        most = int(np.nanmax(x[:, self.categorical], initial=0)) + 1 if self.categorical else 1
        # Names of the codes, made once: a lookup instead of a string a value at serving.
        self._names = np.array([*(str(code).encode() for code in range(most)), _MISSING], dtype=object)

    def _split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers, and the categories' places among the names."""
        columns, last = x.T, len(self._names) - 1
        codes, numbers = columns.take(self.categorical, axis=0), columns.take(self._numeric, axis=0)
        # No code is nobody's; and what is beyond a float32 is as far as it gets.
        with np.errstate(invalid="ignore", over="ignore"):
            places = np.where(codes < last, codes, last).astype(np.intp)
            return numbers.astype(np.float32).T, places.T

    def _pool(self, numbers: np.ndarray, places: np.ndarray, threads: int = -1, label: np.ndarray | None = None) -> Any:
        from catboost import FeaturesData, Pool

        # Column by column: rows would have CatBoost start a thread to turn them, each time, which on a busy machine
        # takes milliseconds.
        data = FeaturesData(
            num_feature_data=np.asfortranarray(numbers),
            cat_feature_data=np.asfortranarray(self._names[places]) if self.categorical else None,
        )
        return Pool(data, label, thread_count=threads)
