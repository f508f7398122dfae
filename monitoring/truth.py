"""Joins labels to logged predictions, once they are known: what was said, and what came to pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from datetime import datetime

    from core.repo import FeatureRepo


@dataclass(frozen=True)
class TruthSummary:
    """What is known of the predictions of some days.

    Attributes
    ----------
    days : int
        Days (UTC, by ``predicted_at``) with predictions.
    written : list of str
        Those whose truth was written anew, because predictions or labels had changed: ``YYYY-MM-DD``.
    predictions : int
        Predictions of these days.
    labelled : int
        Those whose label is known.
    waiting : int
        Those whose label is not known yet.
    after : int
        Those made after the label was known: they say nothing about the model.
    missing_slices : list of str
        Columns of ``slices`` in problem.yaml that neither the spine nor the log has.
    """

    days: int
    written: list[str] = field(default_factory=list)
    predictions: int = 0
    labelled: int = 0
    waiting: int = 0
    after: int = 0
    missing_slices: list[str] = field(default_factory=list)


def update_truth(repo: FeatureRepo, since: datetime | None = None, until: datetime | None = None) -> TruthSummary:
    """Join every label that is known by now to the predictions of the days that ``[since, until)`` touches.

    Days whose predictions and labels are as before are left alone. Killed anywhere and run again, or run twice, it
    leads to the same files.
    """
    raise NotImplementedError


def read_truth(repo: FeatureRepo, since: datetime, until: datetime, *, version: str | None = None) -> pa.Table:
    """Return the labelled predictions made in ``[since, until)``, as :func:`update_truth` left them.

    Returns
    -------
    pyarrow.Table
        ``prediction_id``, ``predicted_at``, ``model_version``, ``probability``, ``class``, ``label`` (0 or 1),
        ``label_timestamp``, a string column a slice of problem.yaml, and ``first``: whether this is the prediction
        that counts. Of all predictions that one model version made for one row of the spine exactly one counts; sum
        over the rows with ``first`` and nothing is counted twice, whatever the windows.
    """
    raise NotImplementedError
