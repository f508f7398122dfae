"""What Prometheus learns of the model: what the last turn found, and which alarms are open.

It is read from what a turn keeps, whenever Prometheus asks: so it is right after a restart too, and costs no test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from croniter import croniter  # type: ignore[import-untyped]  # as DBOS does
from prometheus_client import Metric

from core.clock import SystemClock
from core.service import add_gauges, gauge
from monitoring.alarms import Kind
from monitoring.drift_reports import read_report
from monitoring.watch import last_taken, turns

if TYPE_CHECKING:
    from fastapi import FastAPI

    from core.repo import FeatureRepo
    from monitoring.alarms import Alarms

_METRICS = ("auc", "average_precision", "brier", "log_loss", "f1", "precision", "recall")
Look = Mapping[str, Any]


def add_monitoring_gauges(app: FastAPI, repo: FeatureRepo, alarms: Alarms, schedule: str | None) -> None:
    """Let a service tell what monitoring knows; ``schedule`` is the cron expression that turns are taken by."""
    started = SystemClock().now()
    add_gauges(app, "turn", lambda: turn_gauges(repo))
    if schedule:
        add_gauges(app, "schedule", lambda: due_gauges(repo, schedule, started))
    add_gauges(app, "drift", lambda: drift_gauges(repo))
    add_gauges(app, "alarms", lambda: alarm_gauges(alarms))


def alarm_gauges(alarms: Alarms) -> Iterator[Metric]:
    """Give the number of open alarms of each kind.

    Raises
    ------
    DatabaseUnavailable
        When the database does not answer.
    """
    counts = Counter(row["kind"] for row in alarms.list("open", limit=None))
    found = {kind: float(counts[kind]) for kind in get_args(Kind)}
    yield gauge("punctual_alarms_open", "Alarms of monitoring that are open.", ("kind",), found)


def turn_gauges(repo: FeatureRepo) -> Iterator[Metric]:
    """Give performance, missing features and skew as the last turn found them, where it could look."""
    for turn in turns(repo.layout, 1):
        end = datetime.fromisoformat(turn["until"]).timestamp()
        yield gauge("punctual_turn_end_timestamp_seconds", "Where the last turn's window ends.", (), {(): end})
        yield from _performance(turn["performance"])
        missing = turn["freshness"].get("missing", {})
        yield gauge("punctual_missing_rate", "Share of the window's predictions without it.", ("feature",), missing)
        yield from _skew(turn["skew"])


def due_gauges(repo: FeatureRepo, schedule: str, started: datetime) -> Iterator[Metric]:
    """Give when the schedule asks for the turn that comes after the last one, on the machine's clock.

    Parameters
    ----------
    repo : FeatureRepo
        Whose turns.
    schedule : str
        A cron expression, UTC.
    started : datetime
        When the service was started: what counts until the first turn was taken.
    """
    due = croniter(schedule, last_taken(repo.layout) or started, second_at_beginning=True).get_next(float)
    yield gauge("punctual_turn_due_timestamp_seconds", "When the next turn is to be taken.", (), {(): due})


def drift_gauges(repo: FeatureRepo) -> Iterator[Metric]:
    """Give the last turn's drift report: the verdict, and how far each feature has moved."""
    drift: Look = next((turn["drift"] for turn in turns(repo.layout, 1)), {})
    if "id" not in drift:
        return
    report = read_report(repo, drift["id"])
    version, verdict = report["model_version"], report["verdict"]
    if verdict != "too few rows":
        detected = {version: float(verdict == "drift")}
        yield gauge("punctual_drift_detected", "1 where the last turn's report says drift.", ("version",), detected)
        yield gauge(
            "punctual_drift_share", "Share of the features that drifted.", ("version",), {version: report["share"]}
        )
    columns = {found["name"]: found for found in report["features"]}
    scores = {name: found["effect"] for name, found in columns.items()}
    drifted = {name: float(found["drifted"]) for name, found in columns.items()}
    yield gauge("punctual_drift_score", "How far a feature moved: its stability index.", ("feature",), scores)
    yield gauge("punctual_drift_drifted", "1 for a feature that drifted.", ("feature",), drifted)
    if report["prediction"]:
        moved = {version: report["prediction"]["effect"]}
        yield gauge("punctual_drift_prediction_score", "How far the predictions moved.", ("version",), moved)


def _performance(look: Look) -> Iterator[Metric]:
    # What is measured may be of an earlier window than the turn's: the newest one whose labels are known.
    measured = {w["model_version"]: w for w in look.get("measured", ())}
    values = {(version, metric): window[metric] for version, window in measured.items() for metric in _METRICS}
    words = "How good predictions were, in the newest window with labels."
    yield gauge("punctual_performance", words, ("version", "metric"), values)
    rows = {version: float(window["rows"]) for version, window in measured.items()}
    yield gauge("punctual_performance_rows", "Predictions of that window whose label is known.", ("version",), rows)
    ends = {version: datetime.fromisoformat(window["until"]).timestamp() for version, window in measured.items()}
    yield gauge("punctual_performance_end_timestamp_seconds", "Where that window ends.", ("version",), ends)
    waiting = {w["model_version"]: float(w["waiting"]) for w in look.get("windows", ()) if w["slice"] is None}
    words = "Predictions of the turn's window whose label is not known."
    yield gauge("punctual_performance_waiting", words, ("version",), waiting)


def _skew(look: Look) -> Iterator[Metric]:
    if "rows" not in look:
        return
    yield gauge("punctual_skew_rows", "Logged vectors that were rebuilt offline.", (), {(): float(look["rows"])})
    words = "Values that differ from those rebuilt, unexplained."
    yield gauge("punctual_skew_differences", words, ("feature",), _counts(look["unexplained"]))
    words = "Predictions that were not rebuilt, or not whole, and why."
    yield gauge("punctual_skew_left_out", words, ("what",), _counts(look.get("left_out", {})))
    if "rows" in (sampled := look.get("sampled", {})):
        words = "Rows that are online and were compared with history."
        yield gauge("punctual_skew_sampled_rows", words, (), {(): float(sampled["rows"])})
        words = "Values that are online and that history has otherwise, unexplained."
        yield gauge("punctual_skew_sampled_differences", words, ("feature",), _counts(sampled["unexplained"]))


def _counts(found: Mapping[str, int]) -> dict[str, float]:
    return {name: float(count) for name, count in found.items()}
