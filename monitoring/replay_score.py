"""How a replay goes, while it goes: the AUC of what was predicted, as far as labels have come in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from monitoring.replay_predictions import read_predictions
from monitoring.truth import read_truth

if TYPE_CHECKING:
    from pathlib import Path

    from core.repo import FeatureRepo

_RECENT = timedelta(days=7)


def labelled(repo: FeatureRepo, folder: Path, since: datetime, until: datetime) -> pd.DataFrame:
    """Return what a replay has predicted and got labels for, each once.

    Parameters
    ----------
    repo, folder : FeatureRepo, Path
        Whose truth, and where the replay's predictions are.
    since, until : datetime
        Bounds of ``predicted_at``, half-open, UTC.

    Returns
    -------
    pandas.DataFrame
        ``prediction_id``, ``moment``, ``predicted_at``, ``model_version``, ``probability`` and ``label`` (0 or 1), in
        the order of time.
    """
    asked = read_predictions(folder).drop_columns(["entity", "refused"]).to_pandas()
    asked = asked[asked["prediction_id"].notna() & (asked["predicted_at"] >= since) & (asked["predicted_at"] < until)]
    truth = read_truth(repo, since, until).select(["prediction_id", "label"]).to_pandas()
    return asked.merge(truth.drop_duplicates("prediction_id"), on="prediction_id").reset_index(drop=True)


class Score:
    """The score so far.

    Parameters
    ----------
    repo, folder : FeatureRepo, Path
        Whose truth, and where the replay's predictions are.
    since : datetime
        Where the replay began.
    """

    def __init__(self, repo: FeatureRepo, folder: Path, since: datetime) -> None:
        self._repo, self._folder, self._since = repo, folder, since
        self._words = "no label yet"

    def update(self, now: datetime) -> None:
        """Look at the labels that are known by now."""
        rows = labelled(self._repo, self._folder, self._since, now)
        whole = auc(rows["label"].to_numpy(), rows["probability"].to_numpy())
        recent = rows[rows["moment"] >= now - _RECENT]
        week = auc(recent["label"].to_numpy(), recent["probability"].to_numpy())
        if whole is not None:
            last = f", the last week {week:.3f}" if week is not None else ""
            self._words = f"AUC {whole:.3f}{last} ({len(rows):,} labels)"

    def words(self) -> str:
        """Return it for the progress line."""
        return self._words


def auc(y: np.ndarray, probability: np.ndarray) -> float | None:
    """Return the AUC of 0/1 labels and probabilities (n,), None where only one class occurs."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, probability)) if len(np.unique(y)) == 2 else None
