"""Monitoring: the last look at the model in words, drift, how good predictions were, alarms, and what was decided."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.parts import alarms, decided, drift, measured, overview
from dashboard.parts.current import Current, me
from dashboard.parts.status import there, told


def show() -> None:
    """Draw the page."""
    who = me()
    st.title("Monitoring")
    if not there("monitoring"):
        return
    parts: dict[str, Callable[[Current], None]] = {
        "Overview": overview.show,
        "Drift": drift.show,
        "Performance": measured.show,
        "Alarms": alarms.show,
        "Decisions": decided.show,
    }
    chosen = st.segmented_control(
        "Part", list(parts), default="Overview", required=True, label_visibility="collapsed", key="monitoring-part"
    )
    with told():
        parts[chosen](who)
