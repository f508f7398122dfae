"""Health: every service, what it depends on, its last error, and the newest job that failed."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.errors import PunctualError
from core.places import Name, service_url
from core.settings import get_settings
from dashboard.health import Health
from dashboard.parts import words
from dashboard.parts.current import Current, me
from dashboard.parts.jobs import prefix
from dashboard.parts.status import badge, busy
from dashboard.services import services

_FACTS = ("status", "milliseconds", "detail")


def show() -> None:
    """Draw the page."""
    who = me()
    st.title("Health")
    with busy("Asking for jobs that failed ..."):  # here, since the panel does so again and again, and would blink
        for health in services().board.all():
            _failed(who, health)
    _panel(who)


@st.fragment(run_every="3s")
def _panel(who: Current) -> None:
    for health in services().board.all():
        with st.container(border=True):
            _service(who, health)


def _service(who: Current, health: Health) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(health.name, width="content")
        badge(health)
        seen = f"looked at {health.seen_at:%H:%M:%S} UTC" if health.seen_at else "not looked at yet"
        took = f", answered in {health.milliseconds:.0f} ms" if health.state in ("up", "degraded") else ""
        st.caption(f"{service_url(get_settings(), health.name)}, {seen}{took}", width="content")
    if health.detail:
        st.warning(health.detail)
    if health.dependencies:
        st.dataframe([_dependency(name, facts) for name, facts in health.dependencies.items()], hide_index=True)
    if health.last_error and not health.detail:
        st.caption(f"Last error, at {words.moment(health.last_error_at)} UTC: {health.last_error}")
    failed = _failed(who, health)
    if failed:
        st.caption(f"Last failed job, at {words.moment(failed['ended_at'])} UTC: {failed['kind']}: {failed['error']}")


def _dependency(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    more = [f"{key} {words.value(value)}" for key, value in facts.items() if key not in _FACTS and value is not None]
    return {
        "depends on": name,
        "status": facts.get("status"),
        "ms": facts.get("milliseconds"),
        "says": facts.get("detail") or ", ".join(more),
    }


def _failed(who: Current, health: Health) -> dict[str, Any] | None:
    """Return the newest job of a service that failed, None where there is none, or it cannot be told."""
    try:
        found = _newest_failed(who.call, health.name)
    except PunctualError:
        return None
    return found[0] if found else None


@st.cache_data(ttl=10, show_spinner=False)
def _newest_failed(_call: Any, name: Name) -> list[dict[str, Any]]:
    return list(_call.get(name, f"{prefix(name)}/jobs", status="failed", limit=1)["jobs"])
