"""Two versions on the same rows: metrics with the noise in them, curves, calibration, inputs, slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.metric_names import METRIC_NAMES
from dashboard.parts import compare_charts, words
from dashboard.parts.current import Current
from dashboard.parts.status import busy
from dashboard.parts.tables import table

_PICTURES = (
    (
        "ROC curves",
        compare_charts.roc,
        "How many of the positives are found, for how many false alarms. The higher a line, the better.",
    ),
    (
        "Precision and recall",
        compare_charts.precision_recall,
        "How many of those called positive are so, for how many of the positives are found. The higher, the better.",
    ),
    (
        "Calibration",
        compare_charts.calibration,
        "Where a line is above the grey one, more came true than was predicted. The nearer, the better.",
    ),
    (
        "What the models look at",
        compare_charts.importance,
        "How much worse the order gets when an input tells nothing: the longer a bar, the more hangs on it.",
    ),
)


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
    with busy("Judging both on the same rows ..."):
        compared = _compared(who.call, a, b)
    st.caption(_rows(compared))
    for warning in compared["warnings"]:
        st.warning(warning)
    digits = st.column_config.NumberColumn(format="%.4f")
    st.dataframe(
        metrics(compared), hide_index=True, placeholder="", column_config=dict.fromkeys(map(_column, (a, b)), digits)
    )
    st.caption("Gain: how much better the first is. The interval is that of a paired bootstrap over rows, at 95 %.")
    for i in range(0, len(_PICTURES), 2):
        for place, (title, drawn, said) in zip(st.columns(2, gap="large"), _PICTURES[i : i + 2], strict=True):
            with place:
                st.markdown(f"**{title}**")
                st.plotly_chart(drawn(compared), config={"displayModeBar": False}, key=f"compare-{title}", alt=title)
                st.caption(said)
    if compared["slices"]:
        st.markdown("**Slices**")
        table([_slice(one, a, b) for one in compared["slices"]], _columns(a, b), name=f"slices-{a}-{b}", key="slices")
    _export(who, a, b)


def metrics(compared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a metric: both values, and where it is ranked, the gain and whether it is beyond noise."""
    left, right = compared["versions"]
    out = []
    for name, said in METRIC_NAMES.items():
        gain = compared["gains"].get(name)
        if gain and gain["gain"] is None:  # where only one class occurs, there is none
            gain = None
        out.append(
            {
                "metric": said,
                _column(left["version"]): left["metrics"][name],
                _column(right["version"]): right["metrics"][name],
                "gain": f"{gain['gain']:+.4f}" if gain else "",
                "interval": f"{gain['low']:+.4f} to {gain['high']:+.4f}" if gain else "",
                "beyond noise": ("yes" if gain["beyond_noise"] else "no") if gain else "",
            }
        )
    return out


@st.cache_data(ttl=60, show_spinner=False, max_entries=20)
def _compared(_call: Any, a: str, b: str) -> dict[str, Any]:
    return dict(_call.get("training", "/training/compare", a=a, b=b))


def _rows(compared: Mapping[str, Any]) -> str:
    rows, positive = compared["rows"], compared["versions"][0]["metrics"]["positive_share"]
    span = f"{rows['from'][:10]} to {rows['until'][:10]}"
    return f"On the same {rows['count']:,} rows, of {span}, {words.share(positive)} of them positive."


def _column(version: str) -> str:
    return f"version {version}"


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
