"""Who looks at a page, and how they call the services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from core.settings import get_settings
from dashboard.front import cookie_name
from dashboard.services import Caller, services

if TYPE_CHECKING:
    from dashboard.session import Session


@dataclass(frozen=True)
class Current:
    """Whoever is logged in, for as long as one look at a page takes."""

    session: Session
    call: Caller


def current(*, active: bool = False) -> Current | None:
    """Return who is logged in, as the data service said within a second, or None.

    Parameters
    ----------
    active : bool
        Whether somebody did something, which keeps them logged in.
    """
    session = services().sessions.check(cookie(), active=active)
    return Current(session, Caller(services(), session)) if session is not None else None


def me() -> Current:
    """Return who is logged in; a page whose session is over ends here, and starts again as one that says so."""
    found = current()
    if found is None:
        st.rerun()
    return found


def cookie() -> str | None:
    """Return the cookie with which this tab was opened."""
    port, cookies = get_settings().dashboard_port, st.context.cookies
    return cookies.get(cookie_name(port, https=True)) or cookies.get(cookie_name(port, https=False))
