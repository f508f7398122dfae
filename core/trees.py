"""CatBoost's trees as arrays, for predicting a few rows without the price of a call.

CatBoost makes a pool of whatever it is given, which takes it five times as long as one row takes the trees. The
arithmetic here is its own, in its own order, so that the probabilities are the same to the last bit; a model for which
they are not, or which uses more than numbers and categories as they are, has none of these arrays.
"""

from __future__ import annotations

import ast
import json
import math
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_PROBES = 256
_HASHES = re.compile(r"^cat_features_hashes = (\{.*?^\})", re.MULTILINE | re.DOTALL)


class SymmetricTrees:
    """The trees of a binary classifier, all splits of one level alike.

    A tree asks a question a level; the answers are the bits of its leaf's number, the first one the lowest.

    Parameters
    ----------
    content : dict
        What ``save_model(format="json")`` writes.
    hashes : array of int, shape (categories,)
        CatBoost's hash of each category, by place.

    Raises
    ------
    KeyError, ValueError
        When the model is not one of numbers and categories as they are.
    """

    def __init__(self, content: dict[str, Any], hashes: np.ndarray) -> None:
        if any(
            feature["nan_value_treatment"] == "AsTrue" for feature in content["features_info"].get("float_features", ())
        ):
            raise ValueError("missing numbers count as large")
        trees = content["oblivious_trees"]
        numbers: dict[tuple[int, float], int] = {}
        categories: dict[tuple[int, int], int] = {}
        asked = [[_question(split, numbers, categories) for split in tree["splits"]] for tree in trees]
        self._hashes = hashes
        self._number = np.array([feature for feature, _ in numbers], np.intp)
        self._border = np.array([border for _, border in numbers], np.float32)[:, np.newaxis]
        self._category = np.array([feature for feature, _ in categories], np.intp)
        self._value = np.array([value for _, value in categories], np.int64)[:, np.newaxis]
        self._questions = len(numbers) + len(categories)
        # The last row of answers says no: the question of trees that ask fewer than others.
        places = [[at if kind == "number" else len(numbers) + at for kind, at in own] for own in asked]
        depth = max(map(len, places))
        padded = np.array([own + [self._questions] * (depth - len(own)) for own in places], np.intp)
        self._levels = [np.ascontiguousarray(padded[:, level]) for level in reversed(range(depth))]
        leaves = [tree["leaf_values"] + [0.0] * (2**depth - len(tree["leaf_values"])) for tree in trees]
        self._leaves = np.array(leaves).ravel()
        self._first_leaf = (np.arange(len(trees)) * 2**depth)[:, np.newaxis]
        self._bits = np.uint8 if depth <= 8 else np.uint16
        self._scale, (self._bias,) = content["scale_and_bias"]

    def predict_proba(self, numbers: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return (n, 2) class probabilities.

        Parameters
        ----------
        numbers : array of float32, shape (n, numeric features)
        places : array of int, shape (n, categorical features)
            Places of the categories in ``hashes``.
        """
        answers = np.zeros((self._questions + 1, len(numbers)), np.bool_)
        split = len(self._number)
        np.greater(numbers.T.take(self._number, axis=0), self._border, out=answers[:split])
        asked = self._hashes.take(places.T).take(self._category, axis=0)
        np.equal(asked, self._value, out=answers[split : self._questions])
        bits = answers.view(np.uint8)
        leaf: np.ndarray = bits.take(self._levels[0], axis=0).astype(self._bits, copy=False)
        for level in self._levels[1:]:
            leaf += leaf  # NumPy adds many bytes at a time, and shifts them one by one
            leaf |= bits.take(level, axis=0)
        values = self._leaves.take(leaf + self._first_leaf, mode="clip")  # none is beyond: that is not looked at twice
        # Added up tree by tree: of one row alone np.sum would add pairs, and round otherwise.
        summed = values.sum(axis=0) if len(numbers) > 1 else np.cumsum(values, axis=0)[-1]
        # The C library's exp, as CatBoost: NumPy has one of its own for some processors, which rounds otherwise.
        positive = 1 / (1 + np.array([_exp(raw) for raw in (-(self._scale * summed + self._bias)).tolist()]))
        return np.column_stack((1 - positive, positive))

    def probes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return rows to compare by, as :meth:`predict_proba` takes them: numbers at borders, beside them, none."""
        random = np.random.default_rng(0)
        numbers = np.zeros((_PROBES, int(self._number.max(initial=-1)) + 1), np.float32)
        for feature in range(numbers.shape[1]):
            own = self._border[self._number == feature].ravel()
            near = np.concatenate((own, np.nextafter(own, np.float32(np.inf)), [np.float32(np.nan), np.float32(0)]))
            numbers[:, feature] = random.choice(near, _PROBES)
        places = random.integers(0, len(self._hashes), (_PROBES, int(self._category.max(initial=-1)) + 1))
        return numbers, places


def _exp(raw: float) -> float:
    try:
        return math.exp(raw)
    except OverflowError:
        return math.inf


def _question(
    split: dict[str, Any], numbers: dict[tuple[int, float], int], categories: dict[tuple[int, int], int]
) -> tuple[str, int]:
    """Return which kind of question a split is, and its place among those of the kind."""
    if split["split_type"] == "FloatFeature":
        return "number", numbers.setdefault((split["float_feature_index"], split["border"]), len(numbers))
    if split["split_type"] == "OneHotFeature":
        return "category", categories.setdefault((split["cat_feature_index"], split["value"]), len(categories))
    raise ValueError(f"a split is {split['split_type']}")


def symmetric_trees(
    model: Any, names: np.ndarray, pool: Callable[[np.ndarray, np.ndarray], Any], numeric: int, categorical: int
) -> SymmetricTrees | None:
    """Return the arrays of a fitted CatBoost classifier, or None where they would not say the same as the model.

    Parameters
    ----------
    model : CatBoostClassifier
    names : array of bytes, shape (categories,)
        Every category that rows may hold, by place.
    pool : callable
        Makes the model's pool of numbers (n, numeric) and places (n, categorical).
    numeric, categorical : int
        How many features there are of the kind.
    """
    every = np.repeat(np.arange(len(names))[:, np.newaxis], categorical, axis=1)
    with tempfile.TemporaryDirectory() as folder:
        written, source = Path(folder) / "model.json", Path(folder) / "model.py"
        model.save_model(str(written), format="json")
        content = json.loads(written.read_text(encoding="utf-8"))
        if "oblivious_trees" not in content:  # the levels of a tree ask different questions
            return None
        hashes = np.zeros(1, np.int64)
        if categorical:
            # The one place where CatBoost tells how it hashes categories is the source of a model as Python.
            model.save_model(
                str(source), format="python", pool=pool(np.zeros((len(names), numeric), np.float32), every)
            )
            hashes = _hashes(source.read_text(encoding="utf-8"), names)
    try:
        trees = SymmetricTrees(content, hashes)
    except (KeyError, ValueError):
        return None
    numbers, places = (
        np.pad(own, ((0, 0), (0, count - own.shape[1])))
        for own, count in zip(trees.probes(), (numeric, categorical), strict=True)
    )
    said = model.predict_proba(pool(numbers, places), thread_count=1)
    same = all(
        np.array_equal(trees.predict_proba(numbers[:count], places[:count]), said[:count])
        for count in (1, 2, 3, _PROBES)  # few are added up otherwise than many
    )
    return trees if same else None


def _hashes(source: str, names: np.ndarray) -> np.ndarray:
    found = _HASHES.search(source)
    told = ast.literal_eval(found.group(1)) if found else {}
    # Where one is not told, no question can be about it: what is no hash of CatBoost's 32 bits stands for it.
    return np.array([told.get(name.decode(), 1 << 40) for name in names])
