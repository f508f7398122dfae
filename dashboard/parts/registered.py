"""The registered models over time: how good each was on its test rows, and which of them serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.metric_names import METRIC_NAMES
from dashboard.parts import words
from dashboard.parts.charts import Chart, draw
from dashboard.parts.current import Current
from dashboard.parts.status import busy
from dashboard.parts.tables import table

_RANKING = ("auc", "average_precision")
_ERRORS = ("brier", "log_loss")
_DECISIONS = ("f1", "precision", "recall")
Version = Mapping[str, Any]


def versions(who: Current) -> list[dict[str, Any]]:
    """Return the registered versions, the oldest first."""
    return sorted(who.call.get("training", "/training/models")["versions"], key=lambda one: int(one["version"]))


def charts(found: Sequence[Version]) -> list[Chart]:
    """Return what there is to draw of several versions, oldest first."""
    x = [_label(one) for one in found]
    return [
        Chart(
            title,
            name,
            "lines",
            x,
            {METRIC_NAMES[m]: [one["metrics"].get(m) for one in found] for m in metrics},
            along="version",
        )
        for title, name, metrics in (
            ("Ranking (higher is better)", "ranking", _RANKING),
            ("Error (lower is better)", "errors", _ERRORS),
            ("Decisions (higher is better)", "decisions", _DECISIONS),
        )
    ]


def listed(found: Sequence[Version]) -> list[dict[str, Any]]:
    """Return one row a version, the newest first."""
    return [
        {
            "version": one["version"],
            "roles": ", ".join(one["roles"]),
            "registered": words.moment(one["registered_at"]),
            **{METRIC_NAMES[m]: one["metrics"].get(m) for m in (*_RANKING, *_ERRORS, *_DECISIONS)},
        }
        for one in reversed(found)
    ]


def show(who: Current) -> None:
    """Draw it all."""
    with busy("Reading the registry ..."):
        found = versions(who)
    if not found:
        st.info("No model is registered yet.")
        return
    st.caption("Each version on the test rows that it was trained with: they are not the same for all.")
    drawn = charts(found)
    left, right = st.columns(2, gap="large")
    for place, chart in zip((left, right, left), drawn, strict=True):
        with place:
            draw(chart, key=f"models-{chart.name}")
    with right:
        st.markdown("**Which of two is better?**")
        st.write("On the Training page, *Compare* judges any two on the same rows, and says what is beyond noise.")
    rows = listed(found)
    table(rows, tuple(rows[0]), name="models", key="analytics-models")


def _label(one: Version) -> str:
    roles = f", {one['roles'][0]}" if one["roles"] else ""
    return f"{one['version']}{roles}"
