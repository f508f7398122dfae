"""What drove a prediction, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from dashboard.parts import words

_MOST = 12
_UP, _DOWN = "#d1711c", "#1f6fb2"


def bars(explanation: Mapping[str, Any], classes: Sequence[str]) -> None:
    """Draw what each feature added, the largest first; what is small is one bar.

    Parameters
    ----------
    explanation : mapping
        As ``GET /explain/{prediction_id}`` gives it.
    classes : sequence of str
        Names of the negative and the positive class.
    """
    names, terms = top(explanation["contributions"])
    figure = go.Figure(
        go.Bar(
            x=terms,
            y=names,
            orientation="h",
            marker_color=[_UP if term > 0 else _DOWN for term in terms],
            hovertemplate="%{y}: %{x:+.3f}<extra></extra>",
        )
    )
    figure.update_layout(
        height=90 + 28 * len(names),
        margin={"l": 0, "r": 8, "t": 8, "b": 40},
        yaxis={"autorange": "reversed", "automargin": True, "title": None, "fixedrange": True},
        xaxis={"title": f"← {classes[0]}  ·  {classes[1]} →", "zeroline": True, "fixedrange": True},
        showlegend=False,
    )
    st.plotly_chart(figure, config={"displayModeBar": False}, alt="What each feature added to the prediction")
    st.caption(
        f"{explanation['method']}: {explanation['scale']}. The bars add up to {explanation['raw_score']:+.3f}, "
        f"from {explanation['base_value']:+.3f} for no feature at all."
    )


def top(contributions: Sequence[Mapping[str, Any]], most: int = _MOST) -> tuple[list[str], list[float]]:
    """Return labels and terms of the largest contributions, what is beyond ``most`` of them as one."""
    shown, rest = list(contributions[:most]), list(contributions[most:])
    names = [f"{one['feature']} = {words.value(one['value'])}" for one in shown]
    terms = [float(one["contribution"]) for one in shown]
    if rest:
        names.append(f"{len(rest)} others")
        terms.append(sum(float(one["contribution"]) for one in rest))
    return names, terms
