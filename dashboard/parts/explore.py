"""Rows of any table and what is in their columns: conditions, order and counts are the data service's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.parts import words
from dashboard.parts.charts import Chart, draw
from dashboard.parts.conditions import ask_conditions
from dashboard.parts.current import Current
from dashboard.parts.status import busy, told
from dashboard.parts.tables import csv_button

_LAYERS = {"raw": "as fetched", "valid": "as validated", "quarantine": "in quarantine", "features": "feature rows"}
_NEWEST = "newest windows first"
_MOST_COLUMNS = 100  # the service profiles no more at once
_LABEL = 36
_SHARE = st.column_config.NumberColumn(format="percent")


def show(who: Current) -> None:
    """Ask for a table and for conditions, and show the rows that fulfil them and a profile of all of these."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        layer = st.selectbox("Rows", list(_LAYERS), format_func=_LAYERS.__getitem__, key="explore-layer", width=200)
        with busy("Reading what tables there are ..."):
            known = _tables(who.call, who.session.user, layer)
        name = st.selectbox("Table", known, key=f"explore-table-{layer}", width=280)
    if not name:
        st.caption("There is no table yet.")
        return
    with busy("Reading its columns ..."):
        types = _types(who.call, who.session.user, name, layer)
    key = f"explore-{layer}-{name}"
    conditions = [str(one) for one in ask_conditions(types, key=key)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        sort = st.selectbox(
            "Sorted by", [None, *types], format_func=lambda one: one or _NEWEST, key=f"{key}-sort", width=280
        )
        descending = st.toggle("The largest first", True, key=f"{key}-down", disabled=sort is None, width="content")
        limit = st.select_slider("At most", (50, 100, 200, 500, 1000), 200, key="explore-limit", width=220)
    columns = st.multiselect("Columns", list(types), key=f"{key}-columns", placeholder="all") or list(types)
    asked = {"table": name, "layer": layer, "columns": columns, "where": conditions}
    with told():
        _rows(who, {**asked, "limit": limit, "sort": sort, "descending": descending if sort else None})
    with told():
        _profile(who, {**asked, "columns": columns[:_MOST_COLUMNS]}, key=key)
    if len(columns) > _MOST_COLUMNS:
        st.caption(f"The first {_MOST_COLUMNS} columns. Choose the columns above to see others.")


def _rows(who: Current, asked: Mapping[str, Any]) -> None:
    with busy("Looking through the rows ..."):
        found = who.call.get("data", "/data/preview", **asked)
    rows, columns = found["rows"], asked["columns"]
    which = "fulfil the conditions" if asked["where"] else "are there"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{found['total']:,}** rows {which}, and {len(rows):,} are shown.", width="content")
        csv_button(rows, columns, name=f"{asked['layer']}-{asked['table']}", key="explore", disabled=not rows)
    shown = {column: [row[column] for row in rows] for column in columns}
    st.dataframe(shown, hide_index=True, key="explore-rows", height=360)


def _profile(who: Current, asked: Mapping[str, Any], *, key: str) -> None:
    st.subheader("What is in the columns")
    with busy("Counting what is in the columns ..."):
        found = _counted(who.call, who.session.user, **asked)
    st.caption(f"Counted over all {found['rows']:,} rows that fulfil the conditions, not the ones above alone.")
    st.dataframe(listed(found["columns"]), hide_index=True, key="explore-profile", column_config={"missing": _SHARE})
    by_name = {one["column"]: one for one in found["columns"] if one["count"]}
    if by_name:
        picked = st.selectbox("Draw", list(by_name), key=f"{key}-draw", width=280)
        draw(picture(by_name[picked]), key="explore-picture")


def listed(columns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a column of what ``GET /data/profile`` tells, its values as people read them."""
    return [
        {
            "column": one["column"],
            "type": one["type"],
            "missing": one["missing"],
            "different": one["distinct"],
            "least": _shown(one["least"], one["type"]),
            "most": _shown(one["most"], one["type"]),
            "mean": words.value(one["mean"]),
            **{f"{float(share):.0%}": words.value(value) for share, value in (one["quantiles"] or {}).items()},
            "most frequent": "; ".join(
                f"{_shown(pair['value'], one['type'])}: {pair['rows']:,}" for pair in one["frequent"]
            ),
        }
        for one in columns
    ]


def picture(column: Mapping[str, Any]) -> Chart:
    """Return a chart of a column that ``GET /data/profile`` tells of: how numbers are spread, or what is frequent."""
    parts = column["histogram"]
    if parts:
        title, labels = "How the values are spread", [_part(one) for one in parts]
    else:
        parts = column["frequent"]
        title, labels = "The most frequent values", [_shown(one["value"], column["type"]) for one in parts]
    counts = {"rows": [one["rows"] for one in parts]}
    return Chart(title, f"profile-{column['column']}", "bars", _told_apart(labels), counts, along="value")


def _part(part: Mapping[str, Any]) -> str:
    since, until = part["from"], part["to"]
    if isinstance(since, int) and until == since + 1:
        return words.value(since)
    return f"{words.value(since)} to {words.value(until)}"


def _told_apart(labels: Sequence[str]) -> list[str]:
    """Return labels that are short, and none of which is there twice: a chart would draw one bar over the other."""
    out: list[str] = []
    for i, label in enumerate(labels, 1):
        short = label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"
        out.append(short if short not in out else f"{short} ({i})")
    return out


def _shown(value: Any, kind: str) -> str:
    return words.moment(value) if kind.startswith("TIMESTAMP") else words.value(value)


@st.cache_data(ttl=30, show_spinner=False, max_entries=100)
def _tables(_call: Any, user: str, layer: str) -> list[str]:
    made = _call.get("data", "/data/lineage")
    if layer != "features":
        return list(made["tables"])
    return [view["name"] for view in made["views"] if view["tables"]]


@st.cache_data(ttl=30, show_spinner=False, max_entries=100)
def _types(_call: Any, user: str, table: str, layer: str) -> dict[str, str]:
    return dict(_call.get("data", "/data/preview", table=table, layer=layer, limit=1)["columns"])


@st.cache_data(ttl=30, show_spinner=False, max_entries=50)
def _counted(_call: Any, user: str, **asked: Any) -> dict[str, Any]:
    return dict(_call.get("data", "/data/profile", **asked))
