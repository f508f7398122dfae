"""Pages that others have drawn, to be shown in a frame: they may run scripts of their own, and reach nothing.

Such a page is not ours, and holds values that clients have sent. It is never part of a page of ours: it has an address
of its own, whose policy takes its origin away, so that it has no cookie, can ask nobody for anything, and cannot touch
the page around it.
"""

from __future__ import annotations

import asyncio
import re
from html import escape
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from core.errors import PunctualError
from dashboard.services import Caller

if TYPE_CHECKING:
    from starlette.requests import Request

    from dashboard.services import Services

_DRIFT = "/reports/drift"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_POLICY = "; ".join(
    (
        "sandbox allow-scripts",  # and no origin: what is kept here for this address is out of reach
        "default-src 'none'",
        "script-src 'unsafe-inline'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "font-src data:",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    )
)
HEADERS = {"content-security-policy": _POLICY, "x-frame-options": "SAMEORIGIN", "cache-control": "no-store"}


def drift_page(report_id: str) -> str:
    """Return where the page of a drift report is shown."""
    return f"{_DRIFT}/{report_id}"


class Reports:
    """The routes.

    Parameters
    ----------
    services : Services
        Where the pages come from, as whoever looks at them.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """Return them."""
        return [Route(_DRIFT + "/{report_id}", self.drift, methods=["GET"])]

    async def drift(self, request: Request) -> Response:
        """Show the page of a drift report to whoever may see it."""
        report_id = request.path_params["report_id"]
        if not _ID.fullmatch(report_id):
            return _said("There is no such report.", 404)
        session = await asyncio.to_thread(self._services.sessions.check, request.state.cookie)
        if session is None:
            return _said("Your session is over: log in again.", 401)
        call, path = Caller(self._services, session).call, f"/monitoring/drift/{report_id}/report.html"
        try:
            answer = await asyncio.to_thread(call, "monitoring", "GET", path)
        except PunctualError as error:
            return _said(str(error), error.status)
        return HTMLResponse(answer.body, headers=HEADERS)


def _said(words: str, status: int) -> Response:
    return HTMLResponse(f"<!doctype html><title>Report</title><p>{escape(words)}</p>", status, HEADERS)
