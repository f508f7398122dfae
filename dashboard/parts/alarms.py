"""Alarms: those that are open, with the way to say that one takes care; and all that there ever were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.parts import words
from dashboard.parts.current import Current
from dashboard.parts.status import busy, told
from dashboard.parts.tables import table

_STATES: dict[str, str | None] = {"open": "open", "cleared": "cleared", "all": None}
_MOST = 500
_COLUMNS = ("state", "kind", "subject", "says", "value", "bound", "since", "over", "why over", "seen by")


def opened(who: Current) -> None:
    """Show the open alarms, each with its button."""
    with busy("Reading the open alarms ..."):
        found = who.call.get("monitoring", "/monitoring/alarms", state="open", limit=_MOST)["alarms"]
    st.subheader(f"Open alarms: {len(found)}" if found else "Open alarms")
    if not found:
        st.success("None.", icon=":material/check:")
    for alarm in found:
        _one(who, alarm)


def show(who: Current) -> None:
    """Ask which, and list them."""
    state = st.segmented_control("State", list(_STATES), default="open", required=True, key="alarms-state")
    if state == "open":
        opened(who)
        return
    with busy("Reading the alarms ..."):
        found = who.call.get("monitoring", "/monitoring/alarms", state=_STATES[state], limit=_MOST)["alarms"]
    if not found:
        st.caption("There is none.")
        return
    table([row(alarm) for alarm in found], _COLUMNS, name="alarms", key="alarms", height=520)


def row(alarm: Mapping[str, Any]) -> dict[str, Any]:
    """Return an alarm as a row of a table."""
    return {
        "state": alarm["state"],
        "kind": alarm["kind"],
        "subject": alarm["subject"],
        "says": alarm["words"],
        "value": alarm["value"],
        "bound": alarm["threshold"],
        "since": words.moment(alarm["opened_at"]),
        "over": words.moment(alarm["cleared_at"]),
        "why over": alarm["cleared_why"] or "",
        "seen by": alarm["acknowledged_by"] or "",
    }


def _one(who: Current, alarm: Mapping[str, Any]) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(alarm["kind"], color="red", icon=":material/notifications_active:")
            st.markdown(f"**{words.literal(alarm['subject'])}**", width="content")
            st.caption(f"since {words.moment(alarm['opened_at'])} UTC", width="content")
        st.write(words.literal(alarm["words"]))
        if alarm["acknowledged_at"]:
            seen = f"{alarm['acknowledged_by']} takes care of it, since {words.moment(alarm['acknowledged_at'])} UTC."
            st.caption(words.literal(seen))
        elif st.button("I take care of it", icon=":material/done:", key=f"acknowledge-{alarm['id']}"):
            with told():
                with busy("Noting it ..."):
                    who.call.send("monitoring", "POST", f"/monitoring/alarms/{alarm['id']}/acknowledge")
                st.rerun()
