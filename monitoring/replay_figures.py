"""What came of a replay, in figures: with retraining, and with the version that it began with.

Both are judged on the very same predictions. What was served is in the log; the starting version scores the logged
vectors anew, offline. Where it was the one that served, the two must agree, and the report says so where they do not.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from core.database import database
from core.model import PredictionModel
from monitoring.alarms import Alarms
from monitoring.decisions import Decisions
from monitoring.judge import score
from monitoring.logged import logged
from monitoring.replay_predictions import read_predictions
from monitoring.replay_score import labelled
from training.evaluate import RANKED
from training.gate import resampled_gains

if TYPE_CHECKING:
    from core.repo import FeatureRepo
    from core.settings import Settings
    from monitoring.replay import Plan

METRICS = ("auc", "brier")
_WEEK = timedelta(days=7)
_SEED = 7
_MIN_DAYS = 7


def figures(repo: FeatureRepo, settings: Settings, plan: Plan) -> dict[str, Any]:
    """Return everything that the report tells, as plain data.

    Parameters
    ----------
    repo, settings, plan : FeatureRepo, Settings, Plan
        What was replayed.

    Returns
    -------
    dict
        ``plan``; ``counts``; ``hours_ahead`` (how long before its moment a prediction was made: ``mean``, ``most``);
        ``versions`` (which served when); ``rescored`` (largest difference between log and starting version where that
        served); ``weeks`` and ``spans`` (rows, positive share, ``with`` and ``without`` retraining by metric; for spans
        also ``gain``, ``low``, ``high``); ``alarms``, ``decisions`` and ``moves`` of the time.

    Raises
    ------
    ModelUnavailable
        When the starting version cannot be opened any more.
    """
    folder = repo.layout.replay / plan.id / "predicted"
    asked = read_predictions(folder).to_pandas()
    model = PredictionModel.load(repo.layout.models / plan.champion)  # who was champion here has a copy here
    rows = labelled(repo, folder, plan.since, plan.until)
    rows["start"] = rows["prediction_id"].map(_rescored(repo, model, plan, rows["prediction_id"]))
    made = asked[asked["prediction_id"].notna()]
    ahead = (made["moment"] - made["predicted_at"]).dt.total_seconds() / 3600
    store, name = database(repo, settings), repo.problem.name
    decisions = [d for d in Decisions(store, name).list(limit=None) if _during(plan, d["at"])][::-1]  # type: ignore[arg-type]
    months = _months(plan.since, plan.until)
    return {
        "problem": name,
        "title": repo.problem.title or name,
        "plan": plan.as_dict(),
        "counts": {
            "asked": len(asked),
            "refused": int(asked["refused"].notna().sum()),
            "predicted": len(made),
            "labelled": len(rows),
            "waiting": len(made) - len(rows),
        },
        "hours_ahead": {"mean": _number(ahead.mean()), "most": _number(ahead.max())},
        "versions": _versions(made),
        "rescored": _largest_difference(rows[rows["model_version"] == plan.champion]),
        "weeks": [_judged(rows, *week) for week in _weeks(plan.since, plan.until)],
        "spans": [_compared(rows, *span) for span in [(plan.since, plan.until), *months]],
        "alarms": [a for a in Alarms(store, name).list(limit=None) if _during(plan, a["opened_at"])][::-1],
        "decisions": decisions,
        "moves": [_move(d) for d in decisions if d["outcome"] in ("promoted", "rolled back")],
    }


def _rescored(repo: FeatureRepo, model: PredictionModel, plan: Plan, ids: pd.Series) -> pd.Series:
    """Return the starting version's probability of each logged vector, by prediction id; a week in memory at a time."""
    wanted, parts = pa.array(ids, pa.string()), []
    for since, until in _weeks(plan.since, plan.until):
        vectors = logged(repo, since, until, features=model.features)
        vectors = vectors.filter(pc.is_in(vectors.column("prediction_id"), value_set=wanted))
        if vectors.num_rows:
            parts.append(pd.Series(score(model, vectors), index=vectors.column("prediction_id").to_pylist()))
    return pd.concat(parts) if parts else pd.Series(dtype=float)


def _judged(rows: pd.DataFrame, since: datetime, until: datetime) -> dict[str, Any]:
    """Return the metrics of the predictions for ``[since, until)``, by moment, with retraining and without."""
    rows = rows[(rows["moment"] >= since) & (rows["moment"] < until)]
    y = rows["label"].to_numpy().astype(int)
    both = len(np.unique(y)) == 2

    def metrics(column: str) -> dict[str, float | None]:
        p = rows[column].to_numpy()
        return {metric: _number(RANKED[metric](y, p)) if both else None for metric in METRICS}

    return {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "rows": len(rows),
        "positive_share": _number(y.mean()) if len(y) else None,
        "with": metrics("probability"),
        "without": metrics("start"),
        "versions": list(dict.fromkeys(rows["model_version"])),
    }


def _compared(rows: pd.DataFrame, since: datetime, until: datetime) -> dict[str, Any]:
    """Return :func:`_judged` with what retraining gained, and 95 % intervals by a paired bootstrap over days.

    Predictions of one day share its weather, so whole days are drawn; where there are fewer than seven, rows are.
    """
    found = _judged(rows, since, until)
    gains: dict[str, Any] = dict.fromkeys(METRICS)
    rows = rows[(rows["moment"] >= since) & (rows["moment"] < until)]
    if found["with"]["auc"] is not None:
        y = rows["label"].to_numpy().astype(int)
        days = rows["moment"].dt.floor("D").astype("int64").to_numpy()
        groups = days if len(np.unique(days)) >= _MIN_DAYS else None
        for metric in METRICS:
            new, old = rows["probability"].to_numpy(), rows["start"].to_numpy()
            gain, samples = resampled_gains(metric, y, new, old, _SEED, groups=groups)
            low, high = np.nanquantile(samples, [0.025, 0.975])
            gains[metric] = {"gain": _number(gain), "low": _number(low), "high": _number(high)}
    return found | {"gains": gains}


def _versions(made: pd.DataFrame) -> list[dict[str, Any]]:
    by = made.groupby("model_version", sort=False)["moment"].agg(["min", "max", "count"])
    return [
        {"version": str(v), "first": low.isoformat(), "last": high.isoformat(), "rows": int(count)}
        for v, low, high, count in by.sort_values("min").itertuples()
    ]


def _largest_difference(own: pd.DataFrame) -> float | None:
    return _number((own["probability"] - own["start"]).abs().max()) if len(own) else None


def _move(decision: dict[str, Any]) -> dict[str, Any]:
    undone = decision["outcome"] == "rolled back"
    return {
        "at": decision["at"],
        "what": "rollback" if undone else "promotion",
        "version": decision["version"],
        "before": decision["champion"],
        "reasons": decision["reasons"],
    }


def _during(plan: Plan, moment: str) -> bool:
    return plan.since < datetime.fromisoformat(moment) <= plan.until


def _weeks(since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    count = math.ceil((until - since) / _WEEK)
    return [(since + i * _WEEK, min(since + (i + 1) * _WEEK, until)) for i in range(count)]


def _months(since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    """Return the calendar months of the time, cut at its ends; none where it is a single one."""
    cuts, first = [since], since
    while (first := (first.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0)) < until:
        cuts.append(first)
    return list(pairwise([*cuts, until])) if len(cuts) > 1 else []


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
