"""What drove a prediction, as bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from dashboard.parts import marks, words
from dashboard.parts.charts import shown

_MOST = 12
_UP, _DOWN = "#d1711c", "#1f6fb2"
_PALE = 0.4  # of the bar that is no single feature


def bars(explanation: Mapping[str, Any], classes: Sequence[str]) -> None:
    """Draw what each feature added, the largest first; what is small is one pale bar at the end.

    Parameters
    ----------
    explanation : mapping
        As ``GET /explain/{prediction_id}`` gives it.
    classes : sequence of str
        Names of the negative and the positive class.
    """
    st.plotly_chart(
        figure(explanation, classes),
        config={"displayModeBar": False},
        alt="What each feature added to the prediction",
    )
    st.caption(said(explanation, classes))


def figure(explanation: Mapping[str, Any], classes: Sequence[str]) -> go.Figure:
    """Return the bars as Plotly draws them; parameters as of :func:`bars`."""
    names, terms = top(explanation["contributions"])
    # By place: two long names may look the same.
    places = list(range(len(names)))
    drawn = go.Figure(
        go.Bar(
            x=terms,
            y=places,
            text=[shown(name) for name in names],
            textposition="none",
            orientation="h",
            marker={
                "color": [_UP if term > 0 else _DOWN for term in terms],
                "opacity": [1.0 if place < _MOST else _PALE for place in places],
            },
            hovertemplate="%{text}: %{x:+.3f}<extra></extra>",
        )
    )
    ticks = {"tickvals": places, "ticktext": [shown(name) for name in names]}
    drawn.update_layout(
        height=90 + 28 * len(names),
        margin={"l": 0, "r": 8, "t": 8, "b": 40},
        yaxis={"autorange": "reversed", "automargin": True, "title": None, "fixedrange": True, **ticks},
        xaxis={"title": f"← {shown(classes[0])}  ·  {shown(classes[1])} →", "zeroline": True, "fixedrange": True},
        showlegend=False,
    )
    return drawn


def said(explanation: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Return in words, as Markdown, how the bars make the score; the sum is right as it is written."""
    positive = words.literal(str(classes[1]))
    base, score = (round(float(explanation[name]), 3) for name in ("base_value", "raw_score"))
    rest = "; the pale one is all other features together" if len(explanation["contributions"]) > _MOST else ""
    return (
        f"A bar to the right speaks for {positive}, one to the left against it{rest}. Before any feature is looked at, "
        f"the score is {base:+.3f}, or {words.share(_probability(base))} {positive}. The bars add {score - base:+.3f} "
        f"to it, which makes {score:+.3f}, or {words.share(explanation['raw_probability'])} {positive}. The "
        "prediction's probability is that after calibration, which corrects it by how often such scores came true. "
        f"({words.literal(explanation['method'])}; {words.literal(explanation['scale'])}.)"
    )


def _probability(log_odds: float) -> float:
    return 0.5 + 0.5 * math.tanh(log_odds / 2)  # whatever they are, this does not overflow


def top(contributions: Sequence[Mapping[str, Any]], most: int = _MOST) -> tuple[list[str], list[float]]:
    """Return labels and terms of the largest contributions, what is beyond ``most`` of them as one, the last."""
    largest, rest = list(contributions[:most]), list(contributions[most:])
    names = [f"{one['feature']} = {marks.short(one['value'])}" for one in largest]
    terms = [float(one["contribution"]) for one in largest]
    if rest:
        names.append(f"{len(rest)} others")
        terms.append(sum(float(one["contribution"]) for one in rest))
    return names, terms
