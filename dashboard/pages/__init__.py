"""The pages: one line each says what it is called, where it stands, and whom it is offered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.pages import analytics, audit, data, health, keys, monitoring, predict, training, users

if TYPE_CHECKING:
    from dashboard.session import Session


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes
    ----------
    section, title, icon : str
        Where it stands in the navigation, what it is called, and its Material symbol.
    show : callable
        Draws it.
    everybody : bool
        Whether users are offered it too. What somebody may do on a page, the services decide.
    """

    section: str
    title: str
    icon: str
    show: Callable[[], None]
    everybody: bool = False

    @property
    def path(self) -> str:
        """Its path in the address."""
        return self.title.lower().replace(" ", "-")


PAGES = (
    Page("Use", "Predict", "online_prediction", predict.show, everybody=True),
    Page("Use", "Analytics", "analytics", analytics.show, everybody=True),
    Page("Build", "Data", "database", data.show),
    Page("Build", "Training", "model_training", training.show),
    Page("Build", "Monitoring", "radar", monitoring.show),
    Page("Admin", "Users", "group", users.show),
    Page("Admin", "API keys", "key", keys.show),
    Page("Admin", "Audit log", "history", audit.show),
    Page("Admin", "Health", "monitor_heart", health.show),
)


def offered(session: Session) -> list[Page]:
    """Return the pages that somebody is offered, in order."""
    return [page for page in PAGES if page.everybody or session.is_admin]


def pages_of(session: Session) -> dict[str, list[st.Page]]:
    """Return them as Streamlit's navigation takes them, by section; the first is where one begins."""
    sections: dict[str, list[st.Page]] = {}
    theirs = offered(session)
    for page in theirs:
        made = st.Page(
            page.show,
            title=page.title,
            icon=f":material/{page.icon}:",
            url_path=page.path,
            default=page is theirs[0],
        )
        sections.setdefault(page.section, []).append(made)
    return sections
