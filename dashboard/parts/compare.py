"""Two versions on the same rows: metrics with the noise in them, calibration, inputs, slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from dashboard.parts.current import Current
from dashboard.parts.tables import table

_COLOURS = ("#d1711c", "#1f6fb2")
# (Below, the legend would lie over the title of the axis.)
_LAYOUT: dict[str, Any] = {
    "height": 320,
    "margin": {"l": 0, "r": 0, "t": 32, "b": 0},
    "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom"},
}
_MOST_INPUTS = 12


def show(who: Current) -> None:
    """Ask for two versions and compare them."""
    found = who.call.get("training", "/training/models")
    versions = [one["version"] for one in found["versions"]]
    if len(versions) < 2:
        st.caption("There are no two versions to compare yet: train once more.")
        return
    champion = found["roles"].get("champion", versions[-1])
    rival = next(one for one in versions if one != champion)
    with st.container(horizontal=True):
        a = st.selectbox("Version", versions, versions.index(rival), key="compare-a", width=160)
        b = st.selectbox("against", versions, versions.index(champion), key="compare-b", width=160)
    if a == b:
        st.caption("Choose two different ones.")
        return
    with st.spinner("Judging both on the same rows ..."):
        compared = _compared(who.call, a, b)
    rows = compared["rows"]
    st.caption(f"On the same {rows['count']:,} rows, of {rows['from'][:10]} to {rows['until'][:10]}.")
    for warning in compared["warnings"]:
        st.warning(warning)
    st.dataframe(metrics(compared), hide_index=True)
    st.caption("Gain: how much better the first is. The interval is that of a paired bootstrap over rows, at 95 %.")
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Calibration**")
        st.plotly_chart(_calibration(compared), config={"displayModeBar": False}, alt="Predicted and observed shares")
    with right:
        st.markdown("**What the models look at**")
        st.plotly_chart(_importance(compared), config={"displayModeBar": False}, alt="Importance of the inputs")
    if compared["slices"]:
        st.markdown("**Slices**")
        table([_slice(one, a, b) for one in compared["slices"]], _columns(a, b), name=f"slices-{a}-{b}", key="slices")
    _export(who, a, b)


def metrics(compared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a metric: both values, and where it is ranked, the gain and whether it is beyond noise."""
    left, right = compared["versions"]
    out = []
    for name, value in left["metrics"].items():
        gain = compared["gains"].get(name)
        out.append(
            {
                "metric": name.replace("_", " "),
                f"version {left['version']}": value,
                f"version {right['version']}": right["metrics"].get(name),
                "gain": gain and gain["gain"],
                "interval": f"{gain['low']:+.4f} to {gain['high']:+.4f}" if gain else "",
                "beyond noise": ("yes" if gain["beyond_noise"] else "no") if gain else "",
            }
        )
    return out


@st.cache_data(ttl=60, show_spinner=False, max_entries=20)
def _compared(_call: Any, a: str, b: str) -> dict[str, Any]:
    return dict(_call.get("training", "/training/compare", a=a, b=b))


def _calibration(compared: Mapping[str, Any]) -> go.Figure:
    figure = go.Figure(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "width": 1}, name="perfect"))
    for side, colour in zip(compared["versions"], _COLOURS, strict=True):
        points = side["calibration"]
        figure.add_scatter(
            x=[point["predicted"] for point in points],
            y=[point["observed"] for point in points],
            mode="lines+markers",
            line={"color": colour},
            name=f"version {side['version']}",
        )
    figure.update_layout(**_LAYOUT)
    figure.update_xaxes(title="predicted")
    figure.update_yaxes(title="observed")
    return figure


def _importance(compared: Mapping[str, Any]) -> go.Figure:
    names = [one["feature"] for one in compared["versions"][0]["importance"][:_MOST_INPUTS]]
    figure = go.Figure()
    for side, colour in zip(compared["versions"], _COLOURS, strict=True):
        found = {one["feature"]: one["importance"] for one in side["importance"]}
        figure.add_bar(
            x=[found.get(name) for name in names],
            y=names,
            orientation="h",
            marker_color=colour,
            name=f"version {side['version']}",
        )
    figure.update_layout(**_LAYOUT)
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(title="fall of AUC when shuffled")
    return figure


def _columns(a: str, b: str) -> tuple[str, ...]:
    return ("slice", "value", "rows", f"AUC {a}", f"AUC {b}", f"Brier {a}", f"Brier {b}")


def _slice(one: Mapping[str, Any], a: str, b: str) -> dict[str, Any]:
    found = [one["slice"], str(one["value"]), one["rows"], *one["auc"], *one["brier"]]
    return dict(zip(_columns(a, b), found, strict=True))


def _export(who: Current, a: str, b: str) -> None:
    def page() -> bytes:
        params = {"a": a, "b": b, "format": "html"}
        return who.call.call("training", "GET", "/training/compare", params=params).body

    st.download_button(
        "The comparison as a page to print",
        page,
        file_name=f"compare-{a}-{b}.html",
        mime="text/html",
        icon=":material/print:",
        on_click="ignore",
    )
