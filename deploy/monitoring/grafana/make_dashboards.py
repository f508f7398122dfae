"""Writes the dashboards that Grafana loads: ``python deploy/monitoring/grafana/make_dashboards.py``.

What is on them stands here, a line a query; what Grafana wants around it is the same for all. A test sees that the
written files are these, and that every query asks for metrics that the services export.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "punctual"}
_WIDTH, _HEIGHT = 24, 8
_BY_TENTH = "sum by (probability) (rate(punctual_predictions_total[1h]))"
_TURN_AGE = "scalar(punctual_clock_timestamp_seconds) - punctual_turn_end_timestamp_seconds"
_PREDICT = 'service="prediction",route="/predict"'


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes
    ----------
    title : str
        What it shows.
    queries : mapping of str to str
        Legend -> PromQL; ``{{label}}`` in a legend stands for the label's value.
    unit : str
        Grafana's name of the unit: ``s``, ``percentunit``, ``bytes``, ``reqps``, ``short``.
    kind : str
        ``timeseries`` or ``stat``.
    width : int
        Of 24.
    words : str
        Shown behind the panel's (i).
    """

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    words: str = ""


def _quantiles(metric: str, matchers: str = "") -> dict[str, str]:
    rate = (
        f"sum by (le) (rate({metric}_bucket{{{matchers}}}[5m]))"
        if matchers
        else f"sum by (le) (rate({metric}_bucket[5m]))"
    )
    return {f"{q:.0%}": f"histogram_quantile({q}, {rate})" for q in (0.5, 0.95, 0.99)}


DASHBOARDS: dict[str, tuple[str, Sequence[Panel]]] = {
    "api": (
        "API",
        (
            Panel(
                *("Error budget left of 30 days", {"{{slo}}": "1 - slo:budget_burn:rate30d"}, "percentunit", "stat", 8),
                words="1: untouched, 0: spent. Objectives: 99.9 % without a server error, 99 % within 50 ms.",
            ),
            Panel("Predictions a second", {"now": "sum(rate(punctual_predictions_total[5m]))"}, "reqps", "stat", 8),
            Panel(
                "Requests in hand",
                {"{{service}}": "sum by (service) (punctual_requests_in_flight)"},
                kind="stat",
                width=8,
            ),
            Panel("Requests by service", {"{{service}}": "service:requests:rate5m"}, "reqps"),
            Panel("Share of server errors", {"{{service}}": "service:errors:ratio_rate5m"}, "percentunit"),
            Panel("Time of a request for predictions", _quantiles("punctual_request_seconds", _PREDICT), "s"),
            Panel(
                "Budget burn",
                {
                    "{{slo}}, 5 minutes": "slo:budget_burn:rate5m",
                    "{{slo}}, 1 hour": "slo:budget_burn:rate1h",
                    "{{slo}}, 6 hours": "slo:budget_burn:rate6h",
                },
                words="1 spends the budget within 30 days. Pages at 14.4 (an hour) and 6 (six hours).",
            ),
            Panel("Time to read features", _quantiles("punctual_feature_lookup_seconds"), "s"),
            Panel("Time of a model call", _quantiles("punctual_model_seconds"), "s"),
            Panel(
                "Entities answered together",
                {
                    "mean": "sum(rate(punctual_batch_size_sum[5m])) / sum(rate(punctual_batch_size_count[5m]))",
                    **_quantiles("punctual_batch_size"),
                },
            ),
            Panel(
                "Requests by route",
                {"{{service}} {{route}}": "sum by (service, route) (rate(punctual_requests_total[5m]))"},
                "reqps",
            ),
            Panel("Answers by status", {"{{status}}": "sum by (status) (rate(punctual_requests_total[5m]))"}, "reqps"),
            Panel("Slow services: 95 % answered within", {"{{service}}": "service:request_seconds:p95_rate5m"}, "s"),
            Panel(
                "Refused by a rate limit",
                {"{{service}}, by {{by}}": "sum by (service, by) (rate(punctual_rate_limited_total[5m]))"},
                "reqps",
            ),
        ),
    ),
    "model": (
        "Model over time",
        (
            Panel("Version that answers", {"{{version}}": "punctual_model_info == 1"}, kind="stat", width=6),
            Panel("Age of its data", {"version {{version}}": "punctual_model_age_seconds"}, "s", "stat", 6),
            Panel("Drift in the last window", {"version {{version}}": "punctual_drift_detected"}, kind="stat", width=6),
            Panel("Open alarms", {"{{kind}}": "punctual_alarms_open"}, kind="stat", width=6),
            Panel(
                "AUC of the newest window with labels",
                {"version {{version}}": 'punctual_performance{metric="auc"}'},
                words="By the labels that are known; it may change while more come in.",
            ),
            Panel(
                "Brier score of the newest window with labels",
                {"version {{version}}": 'punctual_performance{metric="brier"}'},
            ),
            Panel(
                "Labels",
                {
                    "{{version}}, known in the newest window with labels": "punctual_performance_rows",
                    "{{version}}, waiting in the last window": "punctual_performance_waiting",
                },
            ),
            Panel(
                "Predictions by class", {"{{class}}": "sum by (class) (rate(punctual_predictions_total[5m]))"}, "reqps"
            ),
            Panel(
                "Where probabilities lie",
                {"from {{probability}}": f"{_BY_TENTH} / on () group_left () sum({_BY_TENTH})"},
                "percentunit",
                words="Share of the last hour's predictions in each tenth.",
            ),
            Panel(
                "Drift by feature",
                {"{{feature}}": "topk(10, punctual_drift_score)"},
                words="Population stability index less what chance gives; problem.yaml says from where on it is much.",
            ),
            Panel(
                "Drift as a whole",
                {
                    "share of features, {{version}}": "punctual_drift_share",
                    "predictions, {{version}}": "punctual_drift_prediction_score",
                },
            ),
            Panel("Features that drifted", {"{{feature}}": "punctual_drift_drifted == 1"}),
            Panel(
                "Missing at serving",
                {"{{feature}}": "topk(10, feature:missing:ratio_rate1h)"},
                "percentunit",
                words="Share of the last hour's predictions that were made without the feature.",
            ),
            Panel("Missing in the last window", {"{{feature}}": "topk(10, punctual_missing_rate)"}, "percentunit"),
            Panel("Predictions with old features", {"{{view}}": "view:stale_predictions:ratio_rate15m"}, "percentunit"),
            Panel(
                "Online against offline",
                {
                    "{{feature}}, logged": "punctual_skew_differences",
                    "{{feature}}, online now": "punctual_skew_sampled_differences",
                    "vectors compared": "punctual_skew_rows",
                },
                words="Logged values that cannot be rebuilt, and values online that history has otherwise.",
            ),
            Panel(
                "What became of rows for the challenger",
                {"{{outcome}}": "sum by (outcome) (rate(punctual_shadow_total[5m]))"},
                "reqps",
            ),
        ),
    ),
    "resources": (
        "Resources",
        (
            Panel(
                "Memory",
                {"{{service}}": "punctual_memory_bytes"},
                "bytes",
                words="Resident, all processes of a service.",
            ),
            Panel("Processors in use", {"{{service}}": "rate(punctual_cpu_seconds_total[5m])"}),
            Panel("Processes", {"{{service}}": "punctual_processes"}),
            Panel("Workers", {"{{service}}": "punctual_up"}),
            Panel("Open files and connections", {"{{service}}": "punctual_open_files"}),
            Panel("Requests in hand", {"{{service}}": "sum by (service) (punctual_requests_in_flight)"}),
            Panel("Predictions that wait for the log's disk", {"now": "sum(punctual_prediction_log_waiting)"}),
            Panel("How long the first of them has waited", {"now": "max(punctual_prediction_log_lag_seconds)"}, "s"),
        ),
    ),
    "services": (
        "Service health",
        (
            Panel("Services", {"{{job}}": 'up{job=~"prediction|data|training|monitoring"}'}, kind="stat", width=8),
            Panel("Up for", {"{{service}}": "time() - punctual_start_timestamp_seconds"}, "s", "stat", 8),
            Panel("Gauges that fail", {"{{service}} {{gauges}}": "punctual_gauges_failing == 1"}, kind="stat", width=8),
            Panel("Jobs that wait", {"{{service}}": "service:jobs_queued:sum"}),
            Panel("How long the first of them has waited", {"{{service}}": "punctual_jobs_waiting_seconds"}, "s"),
            Panel("Jobs at work", {"{{service}} {{kind}}": 'punctual_jobs{status="running"} > 0'}),
            Panel(
                "Jobs that ended in the last day",
                {"{{service}} {{kind}} {{status}}": 'delta(punctual_jobs{status=~"done|failed|cancelled"}[1d]) > 0'},
            ),
            Panel(
                "Last good end of each kind",
                {"{{service}} {{kind}}": 'time() - punctual_job_ended_timestamp_seconds{status="done"}'},
                "s",
            ),
            Panel(
                "Age of each view, of what it promises",
                {"{{view}}": "view:age_of_promise:ratio"},
                "percentunit",
                words="Above 1 its newest row online is older than promised.",
            ),
            Panel("Age of each view", {"{{view}}": "punctual_view_age_seconds"}, "s"),
            Panel("Windows", {"{{layer}}": "punctual_windows"}),
            Panel(
                "Behind the clock",
                {"{{layer}}": "scalar(punctual_clock_timestamp_seconds) - punctual_window_end_timestamp_seconds"},
                "s",
            ),
            Panel(
                "Since the last turn of monitoring",
                {"on the problem's clock": _TURN_AGE},
                "s",
            ),
        ),
    ),
}


def dashboard(name: str, title: str, panels: Sequence[Panel]) -> dict[str, Any]:
    """Return a dashboard as Grafana keeps it; panels fill rows from left to right."""
    placed, x, y = [], 0, 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > _WIDTH:
            x, y = 0, y + _HEIGHT
        placed.append(_panel(number, panel, x, y))
        x += panel.width
    return {
        "uid": f"punctual-{name}",
        "title": f"punctual: {title}",
        "tags": ["punctual"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "panels": placed,
    }


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": query, "legendFormat": legend}
        for i, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.words,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": {},
        "targets": targets,
    }


def files() -> dict[Path, str]:
    """Return what each dashboard's file holds."""
    made = {name: dashboard(name, title, panels) for name, (title, panels) in DASHBOARDS.items()}
    return {FOLDER / f"{name}.json": json.dumps(content, indent=2) + "\n" for name, content in made.items()}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
