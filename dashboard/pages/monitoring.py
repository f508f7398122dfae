"""Monitoring: the last look at the model in words, drift, how good predictions were, alarms, and what was decided."""

from __future__ import annotations

import streamlit as st

from dashboard.parts import alarms, decided, drift, measured, overview
from dashboard.parts.choice import part_of
from dashboard.parts.current import me
from dashboard.parts.status import there, told


def show() -> None:
    """Draw the page."""
    who = me()
    st.title("Monitoring")
    if not there("monitoring"):
        return
    part = part_of(
        "monitoring",
        {
            "Overview": overview.show,
            "Drift": drift.show,
            "Performance": measured.show,
            "Alarms": alarms.show,
            "Decisions": decided.show,
        },
    )
    with told():
        part(who)
