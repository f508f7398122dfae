"""Which columns of the training set the model sees, and how they are coded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from core.errors import ConfigError, NoData
from core.model import Feature

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from core.problem import Problem


def model_columns(problem: Problem, rows: pa.Table, spine_columns: Sequence[str]) -> list[str]:
    """Return the model's inputs: ``key_features``, then the features of the service, in their order.

    Times are no inputs (a moment says nothing of the next one), and neither are other columns of the spine.

    Raises
    ------
    ConfigError
        When ``key_features`` or ``slices`` names a column that is not there.
    """
    for field in ("key_features", "slices"):
        if missing := [name for name in getattr(problem, field) if name not in rows.column_names]:
            raise ConfigError(
                f"problem.yaml: {field} names {missing[0]!r}, which is no column of the training set.",
                hint=f"It has: {', '.join(rows.column_names)}.",
            )
    served = [f.name for f in rows.schema if f.name not in spine_columns and not pa.types.is_temporal(f.type)]
    return [*problem.key_features, *served]


def learn_features(
    rows: pa.Table, columns: Sequence[str], key_features: Sequence[str], train: np.ndarray, most: int
) -> list[Feature]:
    """Return how each input is coded, learned from the train part alone; one without any value there is left out.

    Parameters
    ----------
    rows : pyarrow.Table
        The training set.
    columns, key_features : sequence of str
        The inputs, and those of them that are keys: categories even where they are numbers.
    train : array of int
        Row positions to learn from.
    most : int
        Categories kept a feature.

    Raises
    ------
    NoData
        When no input has a value.
    """
    part = rows.select(list(columns)).take(pa.array(train))
    out = []
    for name in columns:
        column = part.column(name)
        if pc.all(pc.is_null(column, nan_is_null=True)).as_py():
            continue
        if name not in key_features and _is_number(column.type):
            out.append(Feature(name, "numeric"))
            continue
        counts = pc.value_counts(column.combine_chunks()).to_pylist()
        ranked = sorted((c for c in counts if c["values"] is not None), key=lambda c: (-c["counts"], str(c["values"])))
        out.append(Feature(name, "categorical", tuple(c["values"] for c in ranked[:most])))
    if not out:
        raise NoData(
            f"None of the features {', '.join(columns)} has a value in the train part.",
            hint="Are the feature rows older than the moments of the spine? See: punctual features",
        )
    return out


def as_columns(rows: pa.Table, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return columns as lists of plain Python values, None for missing, as serving has them."""
    return {name: rows.column(name).to_pylist() for name in names}


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
