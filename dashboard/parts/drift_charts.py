"""Drift as pictures: over time, and by window and feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboard.parts import words
from dashboard.parts.charts import COLOURS, HEIGHT, LEGEND, shown
from dashboard.parts.contract import as_moment

_FAR = "#c8373f"
_MARKS = {"drift": ("x", _FAR), "no drift": ("circle", "#3a9a6b"), "too few rows": ("circle-open", "#8a97a5")}
_ROW, _ABOVE, _BELOW = 20, 56, 92  # pixels: of a feature, for the title, for dates and colours
_DATES = 5  # as many as fit a phone
_MOST = 2.0  # from here on, farther is not darker
# Faint where nothing moved, so that it fits a light and a dark page; another colour from the limit on.
_SCALE = (
    (0.0, "rgba(47,134,207,0.06)"),
    (0.4999, "rgba(47,134,207,0.85)"),
    (0.5, "rgba(224,133,45,0.95)"),
    (1.0, "rgba(176,30,40,1)"),
)
Report = Mapping[str, Any]  # as GET /monitoring/drift/{report_id} tells one


def over_time(reports: Sequence[Report]) -> tuple[go.Figure, list[dict[str, Any]]]:
    """Return shares and prediction scores by window with its verdict, and the same as rows; oldest first.

    A prediction score is how far the predicted probabilities moved, of what is far for them: drift from 1 on, where a
    line is drawn.
    """
    rows = [
        {
            "window ends": words.moment(report["until"]),
            "window begins": words.moment(report["since"]),
            "version": report["model_version"],
            "verdict": report["verdict"],
            "share of drifted features": report["share"],
            "prediction score": ratio(report["prediction"]),
            "rows": report["rows"],
        }
        for report in reports
    ]
    figure = go.Figure()
    x = [row["window ends"] for row in rows]
    looks = [_MARKS.get(row["verdict"], _MARKS["too few rows"]) for row in rows]
    for name, colour, dash in (
        ("share of drifted features", COLOURS[0], "solid"),
        ("prediction score", COLOURS[5], "dot"),
    ):
        figure.add_scatter(
            x=x,
            y=[row[name] for row in rows],
            name=name,
            mode="lines+markers" if dash == "solid" else "lines",
            line={"color": colour, "dash": dash},
            marker={"symbol": [look[0] for look in looks], "color": [look[1] for look in looks], "size": 10},
            customdata=[[row["verdict"], row["rows"], row["version"]] for row in rows],
            hovertemplate="%{y:.2f}, %{customdata[0]}, %{customdata[1]:,} rows, version %{customdata[2]}",
        )
    for verdict in dict.fromkeys(row["verdict"] for row in rows):
        symbol, colour = _MARKS.get(verdict, _MARKS["too few rows"])
        figure.add_scatter(
            x=[None], y=[None], name=verdict, mode="markers", marker={"symbol": symbol, "color": colour, "size": 10}
        )
    figure.add_hline(
        y=1,
        line={"color": _FAR, "width": 1, "dash": "dash"},
        annotation={"text": "limit of the prediction score"},
        annotation_position="top left",
    )
    figure.update_layout(
        height=HEIGHT + 20,
        hovermode="x unified",
        legend=LEGEND,
    )
    # (A line that is no curve does not widen an axis: without this it would mostly lie outside.)
    highest = max([1.0, *(row["prediction score"] or 0.0 for row in rows)])
    figure.update_yaxes(range=[-0.03 * highest, 1.15 * highest], title=None)
    figure.update_xaxes(title=None)
    return figure, rows


def by_feature(reports: Sequence[Report], most: int) -> tuple[go.Figure, list[dict[str, Any]]]:
    """Return how far each feature moved in each window, of what is far for it, and the same as rows.

    Parameters
    ----------
    reports : sequence of mapping
        In full, oldest first.
    most : int
        So many features: those that moved farthest in any window, the farthest on top.
    """
    found = [{one["name"]: one for one in report["features"]} for report in reports]
    farthest: dict[str, float] = {}
    for features in found:
        for name, one in features.items():
            farthest[name] = max(farthest.get(name, 0.0), ratio(one) or 0.0)
    names = sorted(farthest, key=lambda name: (-farthest[name], name))[:most]
    # A window may have been tested for two versions.
    windows = [f"{words.moment(report['until'])} v{report['model_version']}" for report in reports]
    figure = go.Figure(
        go.Heatmap(
            x=windows,
            y=[shown(name) for name in names],
            z=[[ratio(features.get(name)) for features in found] for name in names],
            text=[[_said(features.get(name)) for features in found] for name in names],
            hovertemplate="%{y}, window until %{x}<br>%{text}<extra></extra>",
            colorscale=_SCALE,
            zmin=0,
            zmax=_MOST,
            xgap=1,
            ygap=1,
            colorbar={
                "orientation": "h",
                "yref": "container",
                "y": 0,
                "yanchor": "bottom",
                "ypad": 0,
                "x": 0,
                "xanchor": "left",
                "xpad": 0,
                "len": 0.8,  # the words at its end need room
                "thickness": 10,
                "title": None,
                "tickvals": [0, 1, 2],
                "ticktext": ["as usual", "limit", "twice or more"],
            },
        )
    )
    figure.update_layout(height=_ABOVE + _ROW * len(names) + _BELOW, margin={"b": _BELOW})
    figure.update_yaxes(autorange="reversed", automargin=True, title=None, type="category", dtick=1, showgrid=False)
    dated = sorted({round(i * (len(windows) - 1) / (_DATES - 1)) for i in range(_DATES)})
    figure.update_xaxes(
        title=None,
        type="category",
        showgrid=False,
        side="bottom",
        tickangle=0,
        tickvals=[windows[i] for i in dated],
        ticktext=[_dated(reports[i]) for i in dated],
    )
    rows = [
        {
            "feature": name,
            **{window: ratio(features.get(name)) for window, features in zip(windows, found, strict=True)},
        }
        for name in names
    ]
    return figure, rows


def ratio(column: Mapping[str, Any] | None) -> float | None:
    """Return how far a column moved, of what is far for it; None where that could not be told."""
    if column is None or column["effect"] is None or not column["threshold"]:
        return None
    return float(column["effect"] / column["threshold"])


def _dated(report: Report) -> str:
    until = as_moment(report["until"])
    return f"{until:%d %b}<br>{until:%Y}" if until else words.NOTHING


def _said(column: Mapping[str, Any] | None) -> str:
    return str(shown(column["words"][:120])) if column else "not a feature of this version"
