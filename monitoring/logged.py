"""Reads the prediction log by the problem's clock: what was predicted in a window, as the model saw it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from core.model import Feature
    from core.repo import FeatureRepo


def logged(
    repo: FeatureRepo,
    since: datetime,
    until: datetime,
    *,
    version: str | None = None,
    features: Sequence[Feature] | None = None,
    rows: int | None = None,
) -> pa.Table:
    """Return the predictions made in ``[since, until)``, in the order of their ids.

    Parameters
    ----------
    repo : FeatureRepo
        Whose log to read.
    since, until : datetime
        Timezone-aware, on the problem's clock (``predicted_at``); half-open.
    version : str, optional
        Only predictions of this model version.
    features : sequence of Feature, optional
        Inputs to give as columns of their own: float64 for numeric ones, string for categories; null where missing.
    rows : int, optional
        At most so many, chosen by a hash of the prediction id: the same ones each time, whenever they were made.

    Returns
    -------
    pyarrow.Table
        ``prediction_id``, ``predicted_at``, ``served_at``, ``model_version``, ``probability``, ``class``, ``stale``
        (list of views), ``entity`` (JSON), and one column a feature.
    """
    raise NotImplementedError


def count_logged(repo: FeatureRepo, since: datetime, until: datetime, *, version: str | None = None) -> int:
    """Return how many predictions were made in ``[since, until)`` on the problem's clock."""
    raise NotImplementedError
