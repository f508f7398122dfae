"""Log-in, log-out and one's own password: plain HTML forms, outside of Streamlit, so that cookies can be set.

Every POST must come from a page of ours (its origin, and what browsers say of it) and bring a token back that is bound
to a cookie of that browser.
"""

from __future__ import annotations

import asyncio
import hmac
from html import escape
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from core.errors import InvalidRequest, PunctualError, Unauthenticated
from core.oidc import client_of
from dashboard.bound import OLD_FORM, Bound, from_here, read, status_of
from dashboard.forms import login_page, password_page
from dashboard.front import LOGIN, LOGOUT, PASSWORD, own_page
from dashboard.oidc import Oidc
from dashboard.reset import Reset
from dashboard.session import LONGEST

if TYPE_CHECKING:
    from core.settings import Settings
    from dashboard.session import Sessions

_SAID = {"out": "You are logged out.", "new": "Your password is changed. Log in with it."}


class Login:
    """The routes.

    Parameters
    ----------
    settings : Settings
        The port, which is part of the cookies' names.
    sessions : Sessions
        What they start and end.
    """

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._sessions = sessions
        self._forms = Bound(settings.dashboard_port)
        self._reset = Reset(self._forms, sessions)
        client = client_of(settings)
        self._oidc = Oidc(client, settings, self._forms, sessions, self._failed, own_page) if client else None

    def routes(self) -> list[Route]:
        """Return them."""
        return [
            Route(LOGIN, self.show_login, methods=["GET"]),
            Route(LOGIN, self.log_in, methods=["POST"]),
            Route(LOGOUT, self.stay, methods=["GET"]),
            Route(LOGOUT, self.log_out, methods=["POST"]),
            Route(PASSWORD, self.show_password, methods=["GET"]),
            Route(PASSWORD, self.change_password, methods=["POST"]),
            *self._reset.routes(),
            *(self._oidc.routes() if self._oidc else []),
        ]

    async def show_login(self, request: Request) -> Response:
        """Show the form; whoever is logged in goes on."""
        target = own_page(request.query_params.get("next", ""))
        if request.state.session is not None:
            return RedirectResponse(target, 303)
        said = [words for name, words in _SAID.items() if name in request.query_params]
        return self._login_form(request, target, said=" ".join(said))

    async def log_in(self, request: Request) -> Response:
        """Start a session."""
        try:
            form = await read(request)
            target = own_page(form.get("next", ""))
        except InvalidRequest as error:
            return self._login_form(request, "/", str(error), status=413)
        if not self._forms.ours(request, form):
            return self._login_form(request, target, OLD_FORM, status=403)
        user, password = form.get("user", "").strip(), form.get("password", "")
        if not user or not password:
            return self._login_form(request, target, "Type a user name and a password.", user=user, status=422)
        try:
            cookie = await asyncio.to_thread(self._sessions.log_in, user, password, request.state.address)
        except PunctualError as error:
            return self._login_form(request, target, str(error), user=user, status=status_of(error))
        old = request.state.cookie
        if old:
            await asyncio.to_thread(self._sessions.log_out, old)
        return self._started(request, cookie, target)

    async def stay(self, _: Request) -> Response:
        """Go on to the pages: a link logs nobody out."""
        return RedirectResponse("/", 303)

    async def log_out(self, request: Request) -> Response:
        """End the session, in every tab; without one there is nothing to end."""
        try:
            form = await read(request)
        except InvalidRequest as error:
            return HTMLResponse(escape(str(error)), 413)
        session = request.state.session
        if session is not None:
            if not (from_here(request) and _same(form.get("form", ""), session.form_token)):
                return HTMLResponse(OLD_FORM, 403)
            await asyncio.to_thread(self._sessions.log_out, request.state.cookie)
        response = RedirectResponse(f"{LOGIN}?out=1", 303)
        response.delete_cookie(**self._forms.attributes(request))
        return response

    async def show_password(self, request: Request) -> Response:
        """Show the form for a new password."""
        return self._password_form(request)

    async def change_password(self, request: Request) -> Response:
        """Change one's own password: all sessions of theirs end, and a new one starts."""
        session = request.state.session
        try:
            form = await read(request)
        except InvalidRequest as error:
            return self._password_form(request, str(error), status=413)
        if not (from_here(request) and _same(form.get("form", ""), session.form_token)):
            return self._password_form(request, OLD_FORM, status=403)
        old, new = form.get("old", ""), form.get("new", "")
        if new != form.get("again", ""):
            return self._password_form(request, "The new password was typed in two ways.", status=422)
        try:
            work = self._sessions.change_password
            cookie = await asyncio.to_thread(work, request.state.cookie, old, new, request.state.address)
        except Unauthenticated:
            return RedirectResponse(LOGIN, 303)
        except PunctualError as error:
            return self._password_form(request, str(error), status=status_of(error))
        return self._started(request, cookie, "/")

    def _failed(self, request: Request, error: str, status: int) -> Response:
        return self._login_form(request, "/", error, status=status)

    def _login_form(
        self, request: Request, target: str, error: str = "", *, said: str = "", user: str = "", status: int = 200
    ) -> Response:
        oidc = self._oidc is not None
        return self._forms.show(
            request,
            lambda token: login_page(token=token, target=target, error=error, said=said, user=user, oidc=oidc),
            status,
        )

    def _password_form(self, request: Request, error: str = "", *, status: int = 200) -> Response:
        session = request.state.session
        page = password_page(token=session.form_token, must=session.must_change, error=error, user=session.user)
        return HTMLResponse(page, status, headers={"cache-control": "no-store"})

    def _started(self, request: Request, cookie: str, target: str) -> Response:
        session = self._sessions.find(cookie)
        must = session is not None and session.must_change
        response = RedirectResponse(PASSWORD if must else target, 303)
        response.set_cookie(value=cookie, max_age=int(LONGEST.total_seconds()), **self._forms.attributes(request))
        return response


def _same(sent: str, token: str) -> bool:
    return hmac.compare_digest(sent.encode(), token.encode())
