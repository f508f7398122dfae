"""A trained model as one folder: what training writes, what serving loads, without MLflow or Feast.

``model.json`` says what goes in and what comes out; ``estimator.joblib`` holds the fitted estimator, its
SHA-256 in the header. Loading executes what was pickled: load only models from your own registry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np

from core.errors import ModelUnavailable
from core.files import atomic_dir, digest_of, read_json, sha256, write_json

Kind = Literal["numeric", "categorical"]
HEADER, ESTIMATOR = "model.json", "estimator.joblib"
_LIBRARIES = ("scikit-learn", "catboost", "numpy")


class _Codes(dict[Any, float]):
    """Category -> code; NaN for whatever is none of the categories."""

    def __missing__(self, value: Any) -> float:
        return np.nan


@dataclass(frozen=True)
class Feature:
    """One input of a model.

    Attributes
    ----------
    name : str
        The feature's name in the feature service.
    kind : {"numeric", "categorical"}
        Numbers and booleans, or categories.
    categories : tuple
        The categories seen in training, by code; others count as missing.
    """

    name: str
    kind: Kind
    categories: tuple[Any, ...] = ()

    @cached_property
    def codes(self) -> dict[Any, float]:
        """Category -> code; NaN for others, read by ``[]``."""
        return _Codes({category: float(code) for code, category in enumerate(self.categories)})

    def encode(self, values: Sequence[Any]) -> list[float]:
        """Return the values as floats; NaN for missing, unseen, or not a number."""
        if self.kind == "categorical":
            return list(map(self.codes.__getitem__, values))
        return [np.nan if value is None else float(value) for value in values]


@dataclass
class PredictionModel:
    """A fitted classifier with everything that a prediction needs.

    Attributes
    ----------
    features : list of Feature
        The inputs, in the order of the estimator's matrix.
    estimator : object
        Fitted, with ``predict_proba(matrix) -> (n, 2)``.
    calibration : pair of arrays
        Knots ``(raw, calibrated)`` of a monotone map of the raw probability.
    threshold : float
        Calibrated probability from which on the positive class is called.
    classes : pair of str
        Names of the negative and the positive class.
    metadata : dict
        Lineage: version, feature service, data version, snapshot, registry version, and so on.
    """

    features: list[Feature]
    estimator: Any
    calibration: tuple[np.ndarray, np.ndarray]
    threshold: float
    classes: tuple[str, str]
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The registered version, ``"0"`` before registration."""
        return str(self.metadata.get("version", "0"))

    @cached_property
    def schema_hash(self) -> str:
        """A content hash of the inputs' names, kinds and order."""
        return digest_of(*(f"{f.name}:{f.kind}" for f in self.features))

    def matrix(self, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """Return the coded (n, features) matrix of columns of plain Python values, None for missing.

        Raises
        ------
        KeyError
            When a feature is not among the columns.
        ValueError
            When the columns are not of one length.
        """
        # NumPy reads None as NaN, in half the time that Python takes to look at each value.
        coded = [columns[f.name] if f.kind == "numeric" else f.encode(columns[f.name]) for f in self.features]
        features, rows = len(coded), len(coded[0]) if coded else 0
        if any(len(column) != rows for column in coded):
            raise ValueError("The columns have different numbers of values.")
        return np.fromiter(chain.from_iterable(coded), np.float64, features * rows).reshape(features, rows).T

    def gaps(self, matrix: np.ndarray) -> list[str]:
        """Return the features for which some row of a coded matrix has nothing: not given, or a category unknown."""
        return [self.features[column].name for column in np.flatnonzero(np.isnan(matrix).any(axis=0))]

    def predict_proba(self, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """Return the calibrated probability of the positive class, shape (n,)."""
        return self.score(self.matrix(columns))

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """Return the calibrated probability of the positive class for a coded matrix, shape (n,)."""
        raw = self.estimator.predict_proba(matrix)[:, 1]
        return np.interp(raw, *self.calibration)

    def label(self, probability: float) -> str:
        """Return the class that a calibrated probability stands for."""
        return self.classes[int(probability >= self.threshold)]

    def save(self, folder: Path) -> None:
        """Write the model as ``folder``, whole or not at all."""
        with atomic_dir(folder) as temporary:
            joblib.dump(self.estimator, temporary / ESTIMATOR, compress=3)
            header = {
                "features": [asdict(f) for f in self.features],
                "calibration": [knots.tolist() for knots in self.calibration],
                "threshold": self.threshold,
                "classes": list(self.classes),
                "metadata": self.metadata,
                "schema_hash": self.schema_hash,
                "estimator_sha256": sha256(temporary / ESTIMATOR),
                "libraries": {name: version(name) for name in _LIBRARIES},
            }
            write_json(temporary / HEADER, header)

    @classmethod
    def load(cls, folder: Path) -> PredictionModel:
        """Read a model back.

        Raises
        ------
        ModelUnavailable
            When it is not there, was changed, or was made with other versions of the libraries.
        """
        if not (folder / HEADER).is_file() or not (folder / ESTIMATOR).is_file():
            raise ModelUnavailable(f"There is no whole model in {folder}.", hint="Train one: punctual train")
        header = _read_header(folder / HEADER)
        if sha256(folder / ESTIMATOR) != header["estimator_sha256"]:
            raise ModelUnavailable(
                f"The estimator in {folder} is not the one its header names: it was changed or cut short.",
                hint="Promote the version again to fetch it from the registry.",
            )
        drifted = [f"{n} {v}, here {version(n)}" for n, v in header["libraries"].items() if version(n) != v]
        if drifted:
            raise ModelUnavailable(
                f"The model in {folder} was made with {'; '.join(drifted)}.",
                hint="Install those versions, or train again: punctual train",
            )
        return cls(
            features=[Feature(f["name"], f["kind"], tuple(f["categories"])) for f in header["features"]],
            estimator=joblib.load(folder / ESTIMATOR),
            calibration=(np.array(header["calibration"][0]), np.array(header["calibration"][1])),
            threshold=float(header["threshold"]),
            classes=(header["classes"][0], header["classes"][1]),
            metadata=dict(header["metadata"]),
        )


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header = dict(read_json(path))
    except (TypeError, ValueError) as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}.", hint="Train again: punctual train") from error
    needed = ("features", "calibration", "threshold", "classes", "metadata", "estimator_sha256", "libraries")
    if missing := [name for name in needed if name not in header]:
        raise ModelUnavailable(f"{path} lacks {', '.join(missing)}.", hint="Train again: punctual train")
    return header
