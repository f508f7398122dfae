"""The training set as the candidates see it: split by time, inputs coded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from core.errors import NoData
from core.model import Feature
from training.dataset import EVENT, LABEL_TIME
from training.inputs import as_columns, learn_features, model_columns
from training.split import MIN_ROWS, Parts, time_split

if TYPE_CHECKING:
    from core.problem import Problem
    from training.params import TrainParams


@dataclass
class Prepared:
    """The training set as the candidates see it.

    Attributes
    ----------
    rows : pyarrow.Table
        The n rows.
    parts : Parts
        Which of them train, validate and test.
    features : list of Feature
        The inputs, and how each is coded.
    matrix, y : arrays (n, features) and (n,)
        Coded inputs and labels.
    validation_learned : array of int, optional
        Those validation rows that the chosen model may learn from in the end; by default all.
    """

    rows: pa.Table
    parts: Parts
    features: list[Feature]
    matrix: np.ndarray
    y: np.ndarray
    validation_learned: np.ndarray | None = None

    @property
    def learned(self) -> np.ndarray:
        """Rows that the chosen model is fitted to in the end: train and validation, never test."""
        more = self.parts.validation if self.validation_learned is None else self.validation_learned
        return np.concatenate([self.parts.train, more])

    def part(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return matrix and labels of some rows."""
        return self.matrix[rows], self.y[rows]


def split_rows(problem: Problem, rows: pa.Table) -> Parts:
    """Split a training set by time, as ``problem.yaml`` says."""
    frame = rows.select([EVENT, LABEL_TIME]).to_pandas()
    return time_split(frame[EVENT], frame[LABEL_TIME], problem.split)


def prepare(
    problem: Problem,
    rows: pa.Table,
    spine: Sequence[str],
    params: TrainParams,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Prepared:
    """Split a training set by time and code its inputs; codes are learned from the train part alone.

    Parameters
    ----------
    problem, rows, spine, params
        The problem, its training set, the spine's columns in it, and how to train.
    since, until : datetime, optional
        Bounds ``[since, until)`` on the moments that are learned from.

    Raises
    ------
    NoData
        When a part would hold fewer than 20 rows.
    """
    parts = split_rows(problem, rows)
    more = parts.validation
    if since or until:
        more = _within(more, rows, since, until)
        parts = _bounded(parts, rows, since, until)
    names = model_columns(problem, rows, spine)
    features = learn_features(rows, names, problem.key_features, parts.train, params.max_categories)
    columns = as_columns(rows, names)
    matrix = np.array([f.encode(columns[f.name]) for f in features], dtype=np.float64).T
    y = rows.column(problem.label.column).to_numpy().astype(int)
    return Prepared(rows, parts, features, matrix, y, more)


def _bounded(parts: Parts, rows: pa.Table, since: datetime | None, until: datetime | None) -> Parts:
    train = _within(parts.train, rows, since, until)
    if len(train) < MIN_ROWS:
        moments = _moments(rows).iloc[parts.train]
        raise NoData(
            f"The train part would hold {len(train)} rows between {since or 'its start'} and {until or 'its end'}.",
            hint=f"Its moments go from {moments.min()} to {moments.max()}.",
        )
    return replace(parts, train=train)


def _within(chosen: np.ndarray, rows: pa.Table, since: datetime | None, until: datetime | None) -> np.ndarray:
    moments = _moments(rows).iloc[chosen]
    keep = np.ones(len(chosen), dtype=bool)
    if since is not None:
        keep &= (moments >= since).to_numpy()
    if until is not None:
        keep &= (moments < until).to_numpy()
    return chosen[keep]


def _moments(rows: pa.Table) -> pd.Series:
    return pd.to_datetime(rows.column(EVENT).to_pandas(), utc=True)
