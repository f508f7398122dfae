"""The dashboard as one ASGI app: Streamlit's pages, and the few routes that a page cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware

from core.logs import setup_logs
from core.processes import follow_parent
from core.settings import get_settings
from dashboard.front import Front
from dashboard.login import Login
from dashboard.reports import Reports
from dashboard.services import Services, services

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from core.settings import Settings

# In a folder of its own: beside it, Streamlit would take our folder of pages for scripts to run.
SCRIPT = Path(__file__).parent / "script" / "main.py"


def build_app(settings: Settings, services: Services) -> ASGIApp:
    """Make the dashboard.

    Parameters
    ----------
    settings : Settings
        Its port, hosts, certificate, and where the services are.
    services : Services
        What it talks to, and who is logged in.
    """
    from streamlit.starlette import App

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        follow_parent()
        services.board.start()
        try:
            yield
        finally:
            await asyncio.to_thread(services.close)

    return App(
        SCRIPT,
        lifespan=lifespan,
        routes=[*Login(settings, services.sessions).routes(), *Reports(services).routes()],
        middleware=[Middleware(Front, settings=settings, sessions=services.sessions)],
    )


def create() -> ASGIApp:
    """Make the app from the settings: what the server process calls."""
    settings = get_settings()
    setup_logs(settings.log_level, settings.log_format)
    return build_app(settings, services())
