"""Log-in, log-out and one's own password: plain HTML forms, outside of Streamlit, so that cookies can be set.

Every POST must come from a page of ours (its origin, and what browsers say of it) and bring a token back that is bound
to a cookie of that browser.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from core.errors import Forbidden, InvalidRequest, PunctualError, TooManyRequests, Unauthenticated
from dashboard.forms import login_page, password_page
from dashboard.front import LOGIN, LOGOUT, PASSWORD, cookie_name
from dashboard.session import LONGEST

if TYPE_CHECKING:
    from core.settings import Settings
    from dashboard.session import Sessions

_LARGEST = 8192
_PAGE = re.compile(r"^/[a-z0-9_/-]{0,80}$")
_OLD_FORM = "That form was too old, or came from elsewhere. Try again."


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
        self._sessions, self._port = sessions, settings.dashboard_port
        self._secret = secrets.token_bytes(32)

    def routes(self) -> list[Route]:
        """Return them."""
        return [
            Route(LOGIN, self.show_login, methods=["GET"]),
            Route(LOGIN, self.log_in, methods=["POST"]),
            Route(LOGOUT, self.stay, methods=["GET"]),
            Route(LOGOUT, self.log_out, methods=["POST"]),
            Route(PASSWORD, self.show_password, methods=["GET"]),
            Route(PASSWORD, self.change_password, methods=["POST"]),
        ]

    async def show_login(self, request: Request) -> Response:
        """Show the form; whoever is logged in goes on."""
        target = _target(request.query_params.get("next", ""))
        if request.state.session is not None:
            return RedirectResponse(target, 303)
        said = "You are logged out." if "out" in request.query_params else ""
        return self._login_form(request, target, said=said)

    async def log_in(self, request: Request) -> Response:
        """Start a session."""
        try:
            form = await _read(request)
            target = _target(form.get("next", ""))
        except InvalidRequest as error:
            return self._login_form(request, "/", str(error), status=413)
        if not self._ours(request, form, self._form_cookie(request)):
            return self._login_form(request, target, _OLD_FORM, status=403)
        user, password = form.get("user", "").strip(), form.get("password", "")
        if not user or not password:
            return self._login_form(request, target, "Type a user name and a password.", user=user, status=422)
        try:
            cookie = await asyncio.to_thread(self._sessions.log_in, user, password, request.state.address)
        except PunctualError as error:
            return self._login_form(request, target, str(error), user=user, status=_status(error))
        old = request.state.cookie
        if old:
            await asyncio.to_thread(self._sessions.log_out, old)
        return self._started(request, cookie, target)

    async def stay(self, _: Request) -> Response:
        """Go on to the pages: a link logs nobody out."""
        return RedirectResponse("/", 303)

    async def log_out(self, request: Request) -> Response:
        """End the session, in every tab; without one there is nothing to end."""
        form = await _read(request)
        session = request.state.session
        if session is not None:
            if not (_from_here(request) and hmac.compare_digest(form.get("form", ""), session.form_token)):
                return HTMLResponse(_OLD_FORM, 403)
            await asyncio.to_thread(self._sessions.log_out, request.state.cookie)
        response = RedirectResponse(f"{LOGIN}?out=1", 303)
        response.delete_cookie(**self._attributes(request))
        return response

    async def show_password(self, request: Request) -> Response:
        """Show the form for a new password."""
        return self._password_form(request)

    async def change_password(self, request: Request) -> Response:
        """Change one's own password: all sessions of theirs end, and a new one starts."""
        form, session = await _read(request), request.state.session
        if not (_from_here(request) and hmac.compare_digest(form.get("form", ""), session.form_token)):
            return self._password_form(request, _OLD_FORM, status=403)
        old, new = form.get("old", ""), form.get("new", "")
        if new != form.get("again", ""):
            return self._password_form(request, "The new password was typed in two ways.", status=422)
        try:
            work = self._sessions.change_password
            cookie = await asyncio.to_thread(work, request.state.cookie, old, new, request.state.address)
        except Unauthenticated:
            return RedirectResponse(LOGIN, 303)
        except PunctualError as error:
            return self._password_form(request, str(error), status=_status(error))
        return self._started(request, cookie, "/")

    def _login_form(
        self, request: Request, target: str, error: str = "", *, said: str = "", user: str = "", status: int = 200
    ) -> Response:
        bound = self._form_cookie(request) or secrets.token_urlsafe(24)
        page = login_page(token=self._token(bound), target=target, error=error, said=said, user=user)
        response = HTMLResponse(page, status, headers={"cache-control": "no-store"})
        attributes = self._attributes(request) | {"key": self._form_name(request)}
        response.set_cookie(value=bound, **attributes)
        return response

    def _password_form(self, request: Request, error: str = "", *, status: int = 200) -> Response:
        session = request.state.session
        page = password_page(token=session.form_token, must=session.must_change, error=error, user=session.user)
        return HTMLResponse(page, status, headers={"cache-control": "no-store"})

    def _started(self, request: Request, cookie: str, target: str) -> Response:
        session = self._sessions.find(cookie)
        must = session is not None and session.must_change
        response = RedirectResponse(PASSWORD if must else target, 303)
        response.set_cookie(value=cookie, max_age=int(LONGEST.total_seconds()), **self._attributes(request))
        return response

    def _ours(self, request: Request, form: dict[str, str], bound: str) -> bool:
        return _from_here(request) and bool(bound) and hmac.compare_digest(form.get("form", ""), self._token(bound))

    def _token(self, bound: str) -> str:
        return hmac.new(self._secret, bound.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _form_name(self, request: Request) -> str:
        return f"{cookie_name(self._port, https=request.state.https)}-form"

    def _form_cookie(self, request: Request) -> str:
        return request.cookies.get(self._form_name(request), "")

    def _attributes(self, request: Request) -> dict[str, Any]:
        https = request.state.https
        name = cookie_name(self._port, https=https)
        return {"key": name, "httponly": True, "samesite": "strict", "secure": https, "path": "/"}


def _from_here(request: Request) -> bool:
    """Say whether a browser sent this from a page of ours: both of what it tells must agree, where it tells."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        return False
    here = request.headers.get("host", "")
    return site in (None, "same-origin") and (origin is None or urlsplit(origin).netloc == here)


async def _read(request: Request) -> dict[str, str]:
    """Return a form's fields, the first of each.

    Raises
    ------
    InvalidRequest
        When it is longer than any of ours.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST:
            raise InvalidRequest("That is longer than any name and password.")
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    return {name: values[0] for name, values in fields.items()}


def _target(text: str) -> str:
    """Return the page to go on to: one of ours, whatever a link says."""
    return text if _PAGE.match(text) and not text.startswith("//") else "/"


def _status(error: PunctualError) -> int:
    known = (Unauthenticated, Forbidden, InvalidRequest, TooManyRequests)
    return error.status if isinstance(error, known) else 503
