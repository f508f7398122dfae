"""How good predictions were, by window, version and slice, as far as labels are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import streamlit as st

from core.metric_names import METRIC_NAMES
from dashboard.parts import words
from dashboard.parts.charts import Chart, draw
from dashboard.parts.contract import as_moment
from dashboard.parts.current import Current
from dashboard.parts.status import busy
from dashboard.parts.tables import table

_MEASURES = ("auc", "brier", "average_precision", "log_loss", "f1", "precision", "recall")
_WEEK = timedelta(days=7)
Window = Mapping[str, Any]  # as GET /monitoring/performance tells one


def show(who: Current) -> None:
    """Draw it all."""
    with busy("Reading the windows ..."):
        found = who.call.get("monitoring", "/monitoring/performance")["windows"]
    if not found:
        st.info("Nothing was measured yet: labels come late, and a turn of monitoring joins them.")
        return
    chosen = _choose(lengths(found))
    windows = [one for one in found if length(one) == chosen]
    whole = [one for one in windows if one["slice"] is None]
    # The shortest windows do not overlap, so each prediction is counted once.
    once = [one for one in found if one["slice"] is None and length(one) == lengths(found)[0]]
    with st.container(horizontal=True, gap="medium"):
        st.metric("Labels", f"{sum(one['rows'] for one in once):,}", width="content")
        st.metric("Positive", f"{sum(one['positives'] for one in once):,}", width="content")
        st.metric("Still to come", f"{sum(one['waiting'] for one in once):,}", width="content")
    if chosen >= _WEEK:
        st.caption("Windows may overlap: each turn looks back as far. A prediction counts in each that it lies in.")
    drawn = charts(whole)
    for i in range(0, len(drawn), 2):
        for place, chart in zip(st.columns(2, gap="large"), drawn[i : i + 2], strict=False):
            with place:
                draw(chart, key=f"performance-{chart.name}")
    st.subheader("Windows")
    rows = [row(one) for one in reversed(whole)]
    table(rows, tuple(rows[0]), name="performance", key="performance", height=280)
    _slices(windows)


def charts(whole: Sequence[Window]) -> list[Chart]:
    """Return AUC and Brier score by window and version, and the labels behind them."""
    ends = sorted({one["until"] for one in whole})
    versions = list(dict.fromkeys(one["model_version"] for one in whole))
    at = {(one["until"], one["model_version"]): one for one in whole}
    x = [as_moment(end) for end in ends]

    def by_version(name: str) -> dict[str, list[float | None]]:
        return {f"version {v}": [at[end, v][name] if (end, v) in at else None for end in ends] for v in versions}

    sums = {
        label: [sum(at[end, v][name] for v in versions if (end, v) in at) for end in ends]
        for label, name in (("with a label", "rows"), ("still to come", "waiting"))
    }
    return [
        Chart("AUC", "auc", "lines", x, by_version("auc"), along="window ends (UTC)"),
        Chart("Brier score (lower is better)", "brier", "lines", x, by_version("brier"), along="window ends (UTC)"),
        Chart("Labels", "labels", "stacked", x, sums, along="window ends (UTC)"),
    ]


def row(one: Window) -> dict[str, Any]:
    """Return a window as a row of a table."""
    return {
        "from": words.moment(one["since"]),
        "until": words.moment(one["until"]),
        "version": one["model_version"],
        "labels": one["rows"],
        "positive": one["positives"],
        "to come": one["waiting"],
        **{METRIC_NAMES[name]: one[name] for name in _MEASURES},
    }


def lengths(found: Sequence[Window]) -> list[timedelta]:
    """Return the lengths that windows have, the shortest first."""
    return sorted({length(one) for one in found})


def length(one: Window) -> timedelta:
    """Return how long a window is."""
    since, until = as_moment(one["since"]), as_moment(one["until"])
    return until - since if since and until else timedelta()


def _choose(there: Sequence[timedelta]) -> timedelta:
    """Ask for a length of windows; weeks, where there are some."""
    names = {words.age(one.total_seconds()): one for one in there}
    first = words.age(_WEEK.total_seconds())
    default = first if first in names else next(reversed(names))
    if len(names) == 1:
        return names[default]
    return names[st.segmented_control("Windows of", list(names), default=default, required=True, key="performance-by")]


def _slices(windows: Sequence[Window]) -> None:
    sliced = [one for one in windows if one["slice"] is not None]
    if not sliced:
        return
    st.subheader("Slices")
    names = {
        f"{words.moment(one['since'])} to {words.moment(one['until'])}, version {one['model_version']}": (
            one["until"],
            one["model_version"],
        )
        for one in reversed(sliced)
    }
    picked = st.selectbox("Window", list(names), key="performance-slices", width=480)
    chosen = [one for one in sliced if (one["until"], one["model_version"]) == names[picked]]
    rows = [{"slice": ", ".join(one["slice"]), "value": ", ".join(one["slice"].values()), **row(one)} for one in chosen]
    columns = [name for name in rows[0] if name not in ("from", "until", "version")]
    table(rows, columns, name="slices", key="performance-slice", height=420)
