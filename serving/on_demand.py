"""Runs Feast's on-demand feature views on a batch of rows, as plain Python columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from core.errors import ConfigError, DataError


def run(view: Any, columns: Mapping[str, Sequence[Any]], count: int) -> dict[str, list[Any]]:
    """Return the features of one on-demand view.

    Parameters
    ----------
    view : OnDemandFeatureView
        In the mode ``python`` (lists in, lists out; or row by row with ``singleton``) or ``pandas``.
    columns : mapping of str to sequence of ``count`` values
        Request-time inputs and stored features by name; None is missing, times are UTC moments.

    Returns
    -------
    dict of str to list
        Feature -> ``count`` plain Python values.

    Raises
    ------
    DataError
        When the view's own code fails, or gives another number of values, or one that no feature can have.
    """
    inputs = dict(columns)
    for projection in view.source_feature_view_projections.values():
        for feature in projection.features:
            inputs[f"{projection.name_to_use()}__{feature.name}"] = columns.get(feature.name, [None] * count)
    names = [feature.name for feature in view.features]
    try:
        result = _call(view, inputs, count)
        out = {name: _plain(result[name]) for name in names}
        # What cannot be logged is no prediction's: a number of 70 bits, half a character.
        orjson.dumps(out, default=str)
    except Exception as error:
        raise DataError(
            f"The on-demand feature view {view.name} failed: {type(error).__name__}: {error}.",
            hint="Mend its code in the feature repo, and run: punctual apply",
        ) from error
    if any(len(values) != count for values in out.values()):
        raise DataError(f"The on-demand feature view {view.name} gave another number of rows than it was given.")
    return out


def _call(view: Any, inputs: dict[str, Any], count: int) -> Mapping[str, Any]:
    function = view.feature_transformation.udf
    if view.mode == "python" and view.singleton:
        rows = [function({name: values[i] for name, values in inputs.items()}) for i in range(count)]
        return {name: [row[name] for row in rows] for name in rows[0]}
    if view.mode == "python":
        return dict(function(inputs))
    if view.mode == "pandas":
        import pandas as pd

        frame = pd.DataFrame({name: pd.Series(list(values)) for name, values in inputs.items()})
        return {name: series.tolist() for name, series in function(frame).items()}
    raise ConfigError(
        f"The on-demand feature view {view.name} has the mode {view.mode!r}.", hint="Use python or pandas."
    )


def _plain(values: Iterable[Any]) -> list[Any]:
    """Return plain Python values, None for each that is missing."""
    values = list(values)
    if any(issubclass(kind, np.generic) for kind in set(map(type, values))):
        values = [value.item() if isinstance(value, np.generic) else value for value in values]
    return [None if value is None or value != value else value for value in values]
