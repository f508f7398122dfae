"""A made-up training set with every kind of column, and something to learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from core.model import PredictionModel
from training.candidates import fit, make
from training.evaluate import calibrate
from training.inputs import as_columns, learn_features
from training.params import TrainParams

COLUMNS = ["age", "visits", "member", "town", "shop", "empty"]
KEYS = ["shop"]
PARAMS = TrainParams(
    hist_gradient_boosting={"max_iter": 40, "learning_rate": 0.1},
    catboost={"iterations": 40, "learning_rate": 0.15, "depth": 4},
)


def people(count: int, seed: int = 1) -> pa.Table:
    """Return ``count`` rows: a tenth of the values missing, one column always."""
    rng = np.random.default_rng(seed)
    age, visits = rng.normal(45, 15, count), rng.integers(0, 20, count)
    member, shop = rng.random(count) < 0.4, rng.integers(100, 112, count)
    town = rng.choice(["north", "south", "west"], count)
    risk = 0.04 * (age - 45) - 0.15 * visits + 1.2 * (town == "south") + 0.8 * member + 0.9 * (shop % 3 == 0)
    bought = (rng.random(count) < 1 / (1 + np.exp(-risk))).astype("int64")

    def gaps(values: Any, kind: pa.DataType) -> pa.Array:
        return pa.array(values.tolist(), kind, mask=rng.random(count) < 0.1)

    return pa.table(
        {
            "age": gaps(age, pa.float64()),
            "visits": gaps(visits, pa.int64()),
            "member": gaps(member, pa.bool_()),
            "town": gaps(town, pa.string()),
            "shop": gaps(shop, pa.int64()),
            "empty": pa.nulls(count, pa.float64()),
            "bought": pa.array(bought),
        }
    )


def labels(rows: pa.Table) -> np.ndarray:
    """Return the labels (n,)."""
    return np.array(rows.column("bought"))


def trained(name: str, count: int = 3000) -> PredictionModel:
    """Return a candidate trained on ``count`` rows, calibrated on the newest third of them."""
    rows = people(count)
    train, held = np.arange(count * 2 // 3), np.arange(count * 2 // 3, count)
    features = learn_features(rows, COLUMNS, KEYS, train, PARAMS.max_categories)
    identity = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    model = PredictionModel(features, None, identity, 0.4, ("no", "yes"), {"version": "3", "candidate": name})
    x, y = model.matrix(as_columns(rows, COLUMNS)), labels(rows)
    model.estimator = fit(make(name, features, PARAMS), (x[train], y[train]), (x[held], y[held]))
    model.calibration = calibrate(model.score(x[held]), y[held])
    return model
