"""A model that has lived: weeks of two versions with what came of them, decisions of every kind, alarms."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from core.database import database
from core.repo import FeatureRepo
from monitoring.alarms import Alarms
from monitoring.decisions import Action, Decisions, Outcome
from monitoring.performance import performance
from monitoring.truth import update_truth
from tests.dashboard import watched
from tests.dashboard.stack import Stack
from tests.monitoring.drift_world import START, WEEK
from tests.monitoring.log_world import LogWorld
from tests.serving.world import settings_of
from training.dataset import read_dataset

DAY = timedelta(days=1)
FIRST = START - 5 * WEEK
LAST = START - WEEK  # what was predicted from here on has no label: that is what watched.build logs
# Which weeks, from the first on, each version answered in; and how well it tells a missed instalment from a paid one.
ANSWERED = {"1": (range(3), 0.5), "2": (range(1, 4), 2.0)}
THRESHOLD = 0.3
REASON = "AUC fell by *0.1*"
# In the order in which they were taken: action, what came of it, and why.
DECIDED: tuple[tuple[Action, Outcome, str], ...] = (
    ("retrain", "looked", "drift: 3 of 6 features moved"),
    ("retrain", "failed", "the training service is away"),
    ("retrain", "kept", "version 2 did not pass the gate"),
    ("retrain", "waits", "a second person must approve it"),
    ("retrain", "promoted", "version 2 is better by 0.02 AUC"),
    ("rollback", "nothing", "version 2 does no worse than version 1"),
    ("rollback", "looked", "version 2 does worse than version 1"),
    ("rollback", "failed", "the training service is away"),
    ("rollback", "kept", "the registry has none as previous, not 1"),
    ("rollback", "rolled back", "version 2 does worse than version 1"),
    ("rollback", "pending", "version 2 does worse than version 1"),
    ("retrain", "nothing", "nothing to do: no drift, no drop in performance"),
    ("retrain", "nothing", "nothing to do: no drift, no drop in performance"),
    ("retrain", "pending", REASON),
)
_MADE = {"kept": "2", "waits": "2", "promoted": "2", "rolled back": "1"}  # the version that came of it


@dataclass
class Lived:
    """The processes, and what was predicted.

    Attributes
    ----------
    predictions : list of dict
        Those with a label: ``predicted_at``, ``model_version``, ``probability``, ``features``, ``label``.
    """

    stack: Stack
    predictions: list[dict[str, Any]] = field(default_factory=list)


def build(folder: Path) -> Lived:
    """Bring up the loans, with what was seen and decided in nine weeks, and nothing running yet."""
    stack = watched.build(folder)
    repo = stack.world.repo
    predictions = _predict(repo)
    columns = ("prediction_id", "predicted_at", "model_version", "probability", "class", "entity", "features")
    LogWorld(folder).log(*({name: one[name] for name in columns} for one in predictions))
    update_truth(repo)
    for step in (WEEK, DAY):
        performance(repo, FIRST, LAST, step=step)
    _raise_alarms(stack)
    _decide(stack)
    return Lived(stack, predictions)


def _predict(repo: FeatureRepo) -> list[dict[str, Any]]:
    """Return predictions of both versions for instalments whose label is known, each an hour before its moment."""
    table, _ = read_dataset(repo)
    rng = np.random.default_rng(0)
    found = []
    for row in table.to_pylist():
        at = row["event_timestamp"] - timedelta(hours=1)
        for version, (weeks, skill) in ANSWERED.items():
            if (at - FIRST) // WEEK in weeks:
                probability = float(1 / (1 + np.exp(1.5 - skill * row["missed"] - rng.normal())))
                found.append(
                    {
                        "prediction_id": f"{version}-{row['row_id']:06d}",
                        "predicted_at": at,
                        "model_version": version,
                        "probability": probability,
                        "class": "missed" if probability >= THRESHOLD else "paid",
                        "entity": {name: row[name] for name in ("loan_id", "customer_id")},
                        "features": {"region": row["region"]},
                        "label": row["missed"],
                    }
                )
    return found


def _raise_alarms(stack: Stack) -> None:
    """Open an alarm that somebody takes care of, and one that is over; :mod:`watched` has opened another."""
    repo = stack.world.repo
    alarms = Alarms(database(repo, settings_of(repo)), repo.problem.name)
    alarms.raise_alarm("freshness", "loan_terms", "loan_terms is 3 hours old", at=LAST - WEEK, value=3.0, threshold=2.0)
    alarms.clear("freshness", "loan_terms", "it is fresh again", at=LAST)
    alarms.raise_alarm("performance", "auc", REASON, at=LAST, value=0.6, threshold=0.7)
    (fallen,) = [one for one in alarms.list("open") if one["kind"] == "performance"]
    alarms.acknowledge(fallen["id"], actor="bo")


def _decide(stack: Stack) -> None:
    repo = stack.world.repo
    decisions = Decisions(database(repo, settings_of(repo)), repo.problem.name)
    for n, (action, outcome, why) in enumerate(DECIDED):
        acts = outcome not in ("nothing", "looked")
        row = decisions.take(
            action,
            decided_at(n),
            act=acts,
            outcome="pending" if acts else outcome,
            champion="1" if action == "retrain" else "2",
            triggers=[] if outcome == "nothing" else ["performance"],
            reasons=[why],
            facts={},
        )
        if acts and outcome != "pending":
            decisions.end(row["id"], outcome, [], version=_MADE.get(outcome))


def decided_at(n: int) -> datetime:
    """Return when a decision of :data:`DECIDED` was taken."""
    return FIRST + n * timedelta(days=4)
