"""Charts that are described once: drawn on the screen by Plotly, written as CSV, and drawn on paper.

What a chart shows comes from data: its names are escaped wherever it is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any, Literal

import plotly.graph_objects as go
import streamlit as st

from dashboard.parts.tables import csv_button

# Seen well on white and on black.
COLOURS = ("#2f86cf", "#d1711c", "#3a9a6b", "#9b74d6", "#c8373f", "#8a97a5", "#c9a227", "#2aa5a5")
HEIGHT = 300
LEGEND = {"orientation": "h", "y": -0.28, "yanchor": "top", "x": 0, "title": None}
_LONGEST = 40


@dataclass(frozen=True)
class Chart:
    """What to draw.

    Attributes
    ----------
    title : str
        What it shows.
    name : str
        Of the files that are exported.
    kind : {"stacked", "bars", "lines"}
        Bars on one another, bars side by side, or lines with a mark at each value.
    x : sequence of str or datetime
        One a value.
    series : mapping of str to sequence
        Name to values; None where there is none.
    share : bool
        Whether values are shares, 0 to 1.
    along : str
        What ``x`` is.
    """

    title: str
    name: str
    kind: Literal["stacked", "bars", "lines"]
    x: Sequence[Any]
    series: Mapping[str, Sequence[float | None]]
    share: bool = False
    along: str = "UTC"

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value is not None for values in self.series.values() for value in values)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of :attr:`rows`."""
        return (self.along, *self.series)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What is drawn, one row an ``x``."""
        return [
            {self.along: _cell(x), **{name: values[i] for name, values in self.series.items()}}
            for i, x in enumerate(self.x)
        ]


def draw(chart: Chart, *, key: str) -> None:
    """Show a chart with its ways out: CSV below it, PNG in its corner."""
    if chart.empty:
        st.markdown(f"**{chart.title}**")
        st.caption("There is nothing to draw yet.")
        return
    show(figure(chart), chart.rows, chart.columns, title=chart.title, name=chart.name, key=key)


def show(
    drawn: go.Figure,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    title: str,
    name: str,
    key: str,
) -> None:
    """Show a figure with its ways out.

    Parameters
    ----------
    drawn : Figure
        What to show. A margin that it has at its bottom stays.
    rows, columns
        What is in it, for the CSV.
    title, name, key : str
        What it shows; what exported files are called; the widgets' own.
    """
    drawn.update_layout(
        title={"text": escape(title), "font": {"size": 16}, "x": 0, "xref": "container", "y": 0.98, "yanchor": "top"},
        margin={"l": 8, "r": 8, "t": 56, "b": drawn.layout.margin.b or 8},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#8a97a5", "activecolor": COLOURS[0]},
    )
    # The mode bar holds the one button that saves a picture; everything else is done by hand on the chart.
    config = {
        "displayModeBar": True,
        "displaylogo": False,
        "modeBarButtons": [["toImage"]],
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2},
    }
    with st.container(gap="xsmall"):
        st.plotly_chart(drawn, config=config, key=f"{key}-chart", alt=title)
        csv_button(rows, columns, name=name, key=key, type="tertiary", help=f"The values of: {title}")


def figure(chart: Chart) -> go.Figure:
    """Return a chart as Plotly draws it."""
    drawn = go.Figure()
    x = [shown(one) for one in chart.x]
    for i, (name, values) in enumerate(chart.series.items()):
        colour, label = COLOURS[i % len(COLOURS)], shown(name)
        if chart.kind == "lines":
            drawn.add_scatter(x=x, y=list(values), name=label, mode="lines+markers", line={"color": colour})
        else:
            drawn.add_bar(x=x, y=list(values), name=label, marker_color=colour)
    lonely = len(chart.series) == 1
    drawn.update_layout(
        height=HEIGHT,
        barmode="stack" if chart.kind == "stacked" else "group",
        showlegend=not lonely,
        legend=LEGEND,
        hovermode="x unified" if chart.kind != "bars" else "closest",
    )
    # A bar means something from zero on alone; a line may show a small change.
    start = "normal" if chart.kind == "lines" and not chart.share else "tozero"
    drawn.update_yaxes(rangemode=start, tickformat=".3~p" if chart.share else None, title=None, automargin=True)
    drawn.update_xaxes(title=None, automargin=True, type=None if _timed(chart.x) else "category")
    return drawn


def shown(value: Any) -> Any:
    """Return a name as Plotly may draw it: none of it is markup, and it is not too long."""
    if not isinstance(value, str):
        return value
    return escape(value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…")


def _timed(x: Sequence[Any]) -> bool:
    return all(isinstance(one, datetime) for one in x)


def _cell(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
