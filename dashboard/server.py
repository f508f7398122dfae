"""Runs the dashboard: one process, because Streamlit keeps in memory what each browser tab is at."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from core.processes import follow_standard_input
from core.server import TIED, check_port, tls_files

if TYPE_CHECKING:
    from core.settings import Settings


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises
    ------
    PortInUse, ConfigError
        Before anything listens.
    """
    from granian import Granian
    from granian.constants import Interfaces, Loops

    check_port(settings, settings.dashboard_port, "dashboard_port")
    cert, key = tls_files(settings)
    if os.environ.pop(TIED, None):
        follow_standard_input()
    Granian(
        "dashboard.app:create",
        factory=True,
        address=settings.host,
        port=settings.dashboard_port,
        workers=1,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop if find_spec("uvloop") else Loops.auto,
        websockets=True,
        log_enabled=False,
        workers_kill_timeout=5,  # an open tab is a connection that never ends by itself
        respawn_failed_workers=True,
        ssl_cert=cert,
        ssl_key=key,
        process_name="punctual-dashboard" if find_spec("setproctitle") else None,
    ).serve()
