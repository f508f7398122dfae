"""A new password for who cannot log in: asked for by mail, and chosen by a link.

What a link holds stands behind the ``#`` of its address. A browser sends that part to nobody, so it is in no log of
ours or of a proxy, and in no Referer; the page takes it out of the address and into the form, which sends it in a body.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from core.errors import InvalidRequest, PunctualError
from dashboard.bound import OLD_FORM, read, status_of
from dashboard.forms import forgot_page, reset_page
from dashboard.front import FORGOT, LOGIN, RESET

if TYPE_CHECKING:
    from starlette.requests import Request

    from dashboard.bound import Bound
    from dashboard.session import Sessions

_HEADERS = {"referrer-policy": "no-referrer"}
# The same for everybody: it tells nobody who has an account.
_ASKED = "If there is such a user with a mail address, a link is on its way to it. None there? Ask an administrator."


class Reset:
    """The routes.

    Parameters
    ----------
    forms : Bound
        Binds forms to a browser.
    sessions : Sessions
        Passes on what is asked.
    """

    def __init__(self, forms: Bound, sessions: Sessions) -> None:
        self._forms, self._sessions = forms, sessions

    def routes(self) -> list[Route]:
        """Return them."""
        return [
            Route(FORGOT, self.show_forgot, methods=["GET"]),
            Route(FORGOT, self.forgot, methods=["POST"]),
            Route(RESET, self.show_reset, methods=["GET"]),
            Route(RESET, self.reset, methods=["POST"]),
        ]

    async def show_forgot(self, request: Request) -> Response:
        """Show the form that asks for a link."""
        return self._forgot_form(request)

    async def forgot(self, request: Request) -> Response:
        """Ask for a link by mail; the answer is the same for everybody."""
        try:
            form = await read(request)
        except InvalidRequest as error:
            return self._forgot_form(request, str(error), status=413)
        if not self._forms.ours(request, form, nameless=True):
            return self._forgot_form(request, OLD_FORM, status=403)
        user = form.get("user", "").strip()[:254]
        if not user:
            return self._forgot_form(request, "Type a user name or a mail address.", status=422)
        try:
            await asyncio.to_thread(self._sessions.forgot, user, request.state.address)
        except PunctualError as error:
            return self._forgot_form(request, str(error), status=status_of(error))
        return self._forgot_form(request, said=_ASKED)

    async def show_reset(self, request: Request) -> Response:
        """Show the form for a new password; whether its link is good is seen when it is sent."""
        return self._reset_form(request)

    async def reset(self, request: Request) -> Response:
        """Set the new password, and go on to the log-in."""
        try:
            form = await read(request)
        except InvalidRequest as error:
            return self._reset_form(request, str(error), status=413)
        code, new = form.get("code", "").strip()[:200], form.get("new", "")
        if not self._forms.ours(request, form, nameless=True):
            return self._reset_form(request, OLD_FORM, code=code, status=403)
        if not code or not new:
            return self._reset_form(request, "Open the link once more, and type a password.", code=code, status=422)
        if new != form.get("again", ""):
            return self._reset_form(request, "The new password was typed in two ways.", code=code, status=422)
        try:
            await asyncio.to_thread(self._sessions.reset, code, new, request.state.address)
        except PunctualError as error:
            return self._reset_form(request, str(error), code=code, status=status_of(error))
        return RedirectResponse(f"{LOGIN}?new=1", 303, headers=_HEADERS)

    def _forgot_form(self, request: Request, error: str = "", *, said: str = "", status: int = 200) -> Response:
        return self._forms.show(
            request, lambda token: forgot_page(token=token, error=error, said=said), status, _HEADERS
        )

    def _reset_form(self, request: Request, error: str = "", *, code: str = "", status: int = 200) -> Response:
        return self._forms.show(
            request, lambda token: reset_page(token=token, code=code, error=error), status, _HEADERS
        )
