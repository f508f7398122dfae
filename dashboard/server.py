"""Runs the dashboard: one process, because Streamlit keeps in memory what each browser tab is at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.server import supervise

if TYPE_CHECKING:
    from core.settings import Settings


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises
    ------
    PortInUse, ConfigError
        Before anything listens.
    """
    supervise(
        "dashboard.app:create",
        settings,
        name="dashboard",
        setting="dashboard_port",
        stop_seconds=5,  # an open tab is a connection that never ends by itself
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # as Streamlit has it: its messages are many and small
    )
