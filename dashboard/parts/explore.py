"""Rows of any table, and what is in their columns; never more than a thousand of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.errors import PunctualError
from dashboard.parts import features, words
from dashboard.parts.contract import read_contract
from dashboard.parts.current import Current
from dashboard.parts.tables import table

_LAYERS = {"raw": "as fetched", "valid": "as validated", "quarantine": "in quarantine", "features": "feature rows"}


def show(who: Current) -> None:
    """Ask for a table and show its rows and a profile of them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        layer = st.selectbox("Rows", list(_LAYERS), format_func=_LAYERS.__getitem__, key="explore-layer", width=200)
        known = _views(who) if layer == "features" else _tables(who)
        name = st.selectbox("Table", known, key=f"explore-table-{layer}", accept_new_options=True, width=280)
        limit = st.select_slider("At most", (50, 100, 200, 500, 1000), 200, key="explore-limit", width=220)
    if not name:
        st.caption("There is no table yet.")
        return
    with st.spinner("Reading the rows ..."):
        found = who.call.get("data", "/data/preview", table=name, layer=layer, limit=limit)
    st.caption(f"{len(found['rows']):,} of {found['total']:,} rows, those of the newest windows.")
    columns = st.multiselect(
        "Columns", list(found["columns"]), key=f"explore-columns-{layer}-{name}", placeholder="all"
    )
    shown, _ = table(
        found["rows"], columns or list(found["columns"]), name=f"{layer}-{name}", key="explore", height=360
    )
    st.subheader("What is in the columns")
    st.dataframe(profile(shown, columns or list(found["columns"]), found["columns"]), hide_index=True)


def profile(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], types: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return for each column its type, the share that is missing, how many values there are, the least and the most."""
    out = []
    for name in columns:
        there = [row[name] for row in rows if row.get(name) is not None]
        try:
            ends = (words.value(min(there)), words.value(max(there))) if there else (words.NOTHING,) * 2
        except TypeError:  # lists and the like have no order
            ends = (words.NOTHING, words.NOTHING)
        out.append(
            {
                "column": name,
                "type": types.get(name, ""),
                "missing": 1 - len(there) / len(rows) if rows else None,
                "different": len({str(one) for one in there}),
                "least": ends[0],
                "most": ends[1],
            }
        )
    return out


def _tables(who: Current) -> list[str]:
    versions = who.call.get("data", "/data/versions")["versions"]
    return list(versions[0]["rows"]) if versions else []


def _views(who: Current) -> list[str]:
    """Return the views that a prediction is made of, by the example of one entity; others can be typed."""
    try:
        contract = read_contract(who.call.get("prediction", "/openapi.json"))
        if contract.home is None:
            return []
        rows = features.rows(who, contract.home)
        known = features.look_up(who, rows[0][contract.key.name])["views"] if rows else {}
        return list(dict.fromkeys([contract.home, *known]))
    except PunctualError:
        return []
