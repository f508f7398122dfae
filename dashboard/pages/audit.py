"""The audit log: who did what, when, and what came of it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import streamlit as st

from core.clock import SystemClock
from dashboard.parts.current import me
from dashboard.parts.periods import window
from dashboard.parts.status import busy, there, told
from dashboard.parts.tables import table

_COLUMNS = ("at", "actor", "action", "target", "outcome", "address", "detail", "correlation_id")
_PAGE = 1000
_OLDER = "audit-older"


def show() -> None:
    """Draw the page."""
    who = me()
    st.title("Audit log")
    if not there("data"):
        return
    asked = _asked()
    pages = st.session_state.setdefault(_OLDER, {"asked": asked, "before": []})
    if pages["asked"] != asked:
        pages = st.session_state[_OLDER] = {"asked": asked, "before": []}
    with told():
        with busy("Reading the records ..."):
            records: list[dict[str, Any]] = []
            for before in (None, *pages["before"]):
                records += who.call.get("data", "/audit", **asked, before=before, limit=_PAGE)["records"]
        rows = [{**one, "detail": json.dumps(one["detail"]) if one["detail"] else ""} for one in records]
        at = st.column_config.DatetimeColumn("at (UTC)", format="YYYY-MM-DD HH:mm:ss")
        table(rows, _COLUMNS, name="audit", key="audit", height=560, column_config={"at": at})
        if records and len(records) % _PAGE == 0 and st.button("Show older ones", icon=":material/expand_more:"):
            pages["before"].append(records[-1]["id"])
            st.rerun()


def _asked() -> dict[str, Any]:
    today = SystemClock().now().date()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        days = st.date_input("Days (UTC)", (today - timedelta(days=7), today), key="audit-days", width=260)
        actor = st.text_input("Who", key="audit-actor", placeholder="anybody", width=200).strip()
        action = st.text_input("What", key="audit-action", placeholder="how the action begins", width=240).strip()
    since, until = window(days)
    return {"since": since, "until": until, "actor": actor or None, "action": action or None}
