"""Two versions as pictures: how they rank, how far their probabilities are to be believed, what they look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from core.pages import COLOURS
from dashboard.parts.charts import shown

_GREY = "#8a97a5"  # of what is no version: chance, perfection
# (Below, the legend would lie over the title of the axis.)
_LAYOUT: dict[str, Any] = {
    "height": 340,
    "margin": {"l": 0, "r": 8, "t": 32, "b": 0},
    "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom"},
}
# Shares, whole: what lies at 0 or 1 is not cut in two.
_SHARES: dict[str, Any] = {"range": [-0.02, 1.02], "tickvals": [0, 0.2, 0.4, 0.6, 0.8, 1], "zeroline": False}
_MOST_INPUTS = 12
Compared = Mapping[str, Any]  # as GET /training/compare tells it


def roc(compared: Compared) -> go.Figure:
    """Return the ROC curves: how many positives are found, for how many false alarms."""
    return _curves(compared, "roc", [0, 1], "chance")


def precision_recall(compared: Compared) -> go.Figure:
    """Return precision by recall: how many of those called positive are, for how many positives found."""
    share = compared["versions"][0]["metrics"]["positive_share"]
    return _curves(compared, "precision_recall", [share, share], "chance")


def calibration(compared: Compared) -> go.Figure:
    """Return observed by predicted shares."""
    figure = _against([0, 1], "perfect")
    for side, colour in zip(compared["versions"], COLOURS, strict=True):
        points = side["calibration"]
        figure.add_scatter(
            x=[point["predicted"] for point in points],
            y=[point["observed"] for point in points],
            mode="lines+markers",
            line={"color": colour},
            name=_name(side),
        )
    figure.update_xaxes(title="predicted")
    figure.update_yaxes(title="observed")
    return figure


def importance(compared: Compared) -> go.Figure:
    """Return by how much AUC falls when an input is shuffled, for those that matter most to the first version."""
    names = [one["feature"] for one in compared["versions"][0]["importance"][:_MOST_INPUTS]]
    places = list(range(len(names)))
    figure = go.Figure()
    for side, colour in zip(compared["versions"], COLOURS, strict=True):
        found = {one["feature"]: one["importance"] for one in side["importance"]}
        values = [found.get(name) for name in names]
        figure.add_bar(x=values, y=places, orientation="h", marker_color=colour, name=_name(side))
    figure.update_layout(**_LAYOUT)
    figure.update_yaxes(autorange="reversed", automargin=True, tickvals=places, ticktext=[shown(one) for one in names])
    figure.update_xaxes(title="fall of AUC when shuffled")
    return figure


def _curves(compared: Compared, curve: str, against: list[float], name: str) -> go.Figure:
    figure = _against(against, name)
    for side, colour in zip(compared["versions"], COLOURS, strict=True):
        (along, x), (up, y) = side["curves"][curve].items()
        figure.add_scatter(x=x, y=y, mode="lines", line={"color": colour}, name=_name(side))
        figure.update_xaxes(title=along.replace("_", " "))
        figure.update_yaxes(title=up.replace("_", " "))
    return figure


def _against(y: list[float], name: str) -> go.Figure:
    """Return a picture of shares with a grey line from 0 to 1, for curves to be held against."""
    line = {"color": _GREY, "dash": "dot", "width": 1.5}
    figure = go.Figure(go.Scatter(x=[0, 1], y=y, mode="lines", line=line, name=name, hoverinfo="skip"))
    figure.update_layout(**_LAYOUT)
    figure.update_xaxes(**_SHARES)
    figure.update_yaxes(**_SHARES)
    return figure


def _name(side: Mapping[str, Any]) -> str:
    return f"version {shown(side['version'])}"
