"""How good the predictions were, by window, model version and slice, once the truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from core.repo import FeatureRepo


@dataclass(frozen=True)
class Performance:
    """The metrics of one model version in one window, whole or of one slice.

    Attributes
    ----------
    since, until : datetime
        The window of ``predicted_at``, half-open.
    model_version : str
        Whose predictions.
    slice : dict of str to str, optional
        ``{column: value}``; None for all rows. A value is ``"other"`` for all but the most frequent ones, and
        ``"missing"`` where there is none.
    rows, positives : int
        Predictions that count, and how many of them came out positive.
    waiting : int
        Predictions whose label is not known yet.
    auc, average_precision, brier, log_loss, f1, precision, recall : float, optional
        As :func:`training.evaluate.scores` has them; None where they are undefined (one class, no rows).
    """

    since: datetime
    until: datetime
    model_version: str
    slice: dict[str, str] | None
    rows: int
    positives: int
    waiting: int
    auc: float | None = None
    average_precision: float | None = None
    brier: float | None = None
    log_loss: float | None = None
    f1: float | None = None
    precision: float | None = None
    recall: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON data; moments as ISO 8601 text."""
        raise NotImplementedError


def performance(
    repo: FeatureRepo, since: datetime, until: datetime, *, step: timedelta, version: str | None = None
) -> list[Performance]:
    """Return the performance in each window of length ``step`` from ``since`` on, the last one cut at ``until``.

    Results are kept: a window is computed again only when its truth has changed (:func:`monitoring.truth.update_truth`
    comes first). Kept are windows that begin and end on a whole minute, so let ``since`` be a midnight, say, and not
    the moment of the call.

    Returns
    -------
    list of Performance
        In the order of time, model version (all rows first, then slices, largest first); windows without a
        prediction are left out.
    """
    raise NotImplementedError


def stored_performance(repo: FeatureRepo) -> list[Performance]:
    """Return everything :func:`performance` has kept, in the order of time, without computing anything."""
    raise NotImplementedError
