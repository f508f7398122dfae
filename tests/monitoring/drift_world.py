"""Made-up traffic of which the law is known, the reference of a model that learned from it, and a log to spoil."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.files import write_json
from core.model import HEADER, Feature
from core.problem import Drift
from core.reference import SCORE, Reference, as_drift_column
from tests.monitoring.log_world import START, LogWorld, at
from training.reference import build_reference, measured

FEATURES = [
    Feature("amount", "numeric"),
    Feature("waiting", "numeric"),
    Feature("noise", "numeric"),
    Feature("count", "numeric"),
    Feature("town", "categorical"),
]
TOWNS = ["north", "south", "east", "west"]
LIMITS = Drift()
WEEK = timedelta(days=7)


def traffic(rows: int, seed: int, since: datetime = START, length: timedelta = WEEK) -> pa.Table:
    """Return rows of the same law for every seed: features, ``SCORE``, ``label``, and moments within a window."""
    rng = np.random.default_rng(seed)
    amount, waiting = rng.normal(100, 20, rows), rng.exponential(5, rows)
    score = 1 / (1 + np.exp(-((amount - 100) / 20 + waiting / 10 - 1.5)))
    moments = [since + timedelta(seconds=s) for s in np.sort(rng.uniform(0, length.total_seconds(), rows))]
    columns: dict[str, Any] = {
        "event_timestamp": pa.array(moments, pa.timestamp("us", tz="UTC")),
        "amount": amount,
        "waiting": pa.array(waiting, mask=rng.random(rows) < 0.02),
        "noise": rng.normal(size=rows),
        "count": rng.poisson(1.0, rows).clip(0, 4),
        "town": rng.choice(TOWNS, rows, p=[0.5, 0.3, 0.15, 0.05]),
        SCORE: score,
        "label": (rng.random(rows) < score).astype(int),
    }
    return pa.table(columns)


@lru_cache(maxsize=1)
def reference() -> Reference:
    """Return the reference of thirty weeks of traffic."""
    rows = traffic(20_000, seed=0, since=START - timedelta(days=210), length=timedelta(days=210))
    score, test = rows.column(SCORE).to_numpy(), rows.slice(14_000)
    moments = test.column("event_timestamp")
    measures = measured(test.column("label").to_numpy(), test.column(SCORE).to_numpy(), moments, seed=0)
    return build_reference(rows, FEATURES, score, 0, {"test": measures})


def window(rows: int = 1500, seed: int = 1, **columns: Any) -> pa.Table:
    """Return a window of the same law as the monitor sees it, some columns replaced."""
    table = traffic(rows, seed)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    typed = {f.name: as_drift_column(f, table.column(f.name).to_pylist()) for f in FEATURES}
    return pa.table({**typed, SCORE: table.column(SCORE)})


def truth(rows: int, seed: int, *, flipped: float = 0.0) -> pa.Table:
    """Return labelled predictions; a share of the labels may be the wrong way round."""
    table = traffic(rows, seed)
    wrong = np.random.default_rng(seed).random(rows) < flipped
    label = np.where(wrong, 1 - table.column("label").to_numpy(), table.column("label").to_numpy())
    return pa.table({"predicted_at": table["event_timestamp"], "probability": table[SCORE], "label": label})


def serve(
    world: LogWorld, table: pa.Table, *, version: str = "1", since: datetime = START, what_if: bool = False
) -> None:
    """Write a window's rows into the prediction log, spread over a week from a moment on."""
    step = WEEK.total_seconds() / 3600 / (table.num_rows + 1)
    rows = [
        {
            "prediction_id": f"{version}{since:%m%d}{what_if:d}{i:07d}",
            "predicted_at": since + timedelta(hours=(i + 1) * step),
            "probability": row.pop(SCORE),
            "features": row,
            "model_version": version,
            "what_if": what_if,
        }
        for i, row in enumerate(table.to_pylist())
    ]
    world.log(*rows)


def install(folder: Path, version: str = "1") -> None:
    """Put the reference into a model's folder; what else is in it, drift never opens."""
    write_json(folder / version / HEADER, {})
    write_json(folder / "champion.json", {"name": "loans", "version": version})
    reference().save(folder / version)


__all__ = ["START", "WEEK", "at", "install", "reference", "serve", "traffic", "truth", "window"]
