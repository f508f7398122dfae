"""The strip that says how the services are, and the part of a page that waits for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.errors import PunctualError, Unauthenticated, Unavailable
from dashboard.parts.current import current
from dashboard.services import services

if TYPE_CHECKING:
    from core.places import Name
    from dashboard.health import Health, State

_LOOKS: dict[State, tuple[Any, str]] = {
    "up": ("green", ":material/check_circle:"),
    "degraded": ("orange", ":material/warning:"),
    "down": ("red", ":material/cancel:"),
    "unknown": ("gray", ":material/pending:"),
}
_EVERY = "3s"
_SHOWN = 300


def strip() -> None:
    """Show every service's state; it looks again by itself, and notices when the session is over."""
    _strip(_states())


@st.fragment(run_every=_EVERY)
def _strip(drawn: dict[str, str]) -> None:
    if current() is None or _states() != drawn:
        # The whole page follows: parts that waited for a service work again, others begin to wait.
        st.rerun()
    with st.container(horizontal=True, gap="small"):
        for health in services().board.all():
            badge(health)


def badge(health: Health) -> None:
    """Show a service's state, and in words what is behind it."""
    colour, icon = _LOOKS[health.state]
    st.badge(f"{health.name}: {health.state}", icon=icon, color=colour, help=_words(health))


def _states() -> dict[str, str]:
    return {health.name: health.state for health in services().board.all()}


def _words(health: Health) -> str:
    if health.detail:
        return health.detail[:_SHOWN]
    return f"It answers in {health.milliseconds:.0f} ms." if health.state == "up" else "It was not looked at yet."


def there(*names: Name) -> bool:
    """Say whether services answer; where one does not, say so in the page, whose part is then left out."""
    away = [services().board[name] for name in names if services().board[name].state == "down"]
    for health in away:
        st.warning(
            f"The {health.name} service is down, so this part is not there for now. It comes back by itself. "
            f"What was found: {health.detail[:_SHOWN]}",
            icon=":material/cloud_off:",
        )
    return not away


@contextmanager
def busy(words: str) -> Iterator[None]:
    """Say at once, and at this place, what a block waits for.

    Streamlit's own spinner comes after half a second. These words lie over the page while they are there, so that what
    is around them does not move, and are seen after a tenth of a second: quick answers do not flicker.
    """
    place = st.empty()
    place.html(f'<div class="busy" role="status" aria-live="polite"><i></i>{escape(words)}</div>')
    try:
        yield
    finally:
        place.empty()


@contextmanager
def told() -> Iterator[None]:
    """Tell what goes wrong in a block in words; what comes after it goes on."""
    try:
        yield
    except Unauthenticated:
        st.rerun()
    except PunctualError as error:
        show(error)


def show(error: PunctualError) -> None:
    """Show an error: what is wrong and what to do, and by what to find it in the logs."""
    found = error.context.get("correlation_id")
    note = f"  \n:gray[Found in the logs as `{found}`.]" if found else ""
    box = st.warning if isinstance(error, Unavailable) else st.error
    box(f"{error}{note}")
