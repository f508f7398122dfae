"""The dashboard's outermost layer: who asks, by which name, with which session; and safe headers on every answer."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from core.addresses import client_address, host_name
from core.pieces import PIECE, send_in_pieces
from dashboard.session import Session

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from core.settings import Settings
    from dashboard.session import Sessions

LOGIN, LOGOUT, PASSWORD = "/login", "/logout", "/password"
FORGOT, RESET = "/forgot", "/reset"
OIDC, OIDC_BACK = "/login/oidc", "/login/oidc/back"
# The program that draws pages holds nothing of anybody's, and a probe has no session.
_OPEN = re.compile(
    r"^/(static/.*|favicon\.(png|ico)|_stcore/(health|host-config)|login(/oidc(/back)?)?|logout|forgot|reset)$"
)
_FIRST = "/predict"  # Streamlit calls its first page / alone, and says of its name that there is no such page
_PAGE = re.compile(r"^/[a-z0-9_/-]{0,80}(\?[a-z]{1,20}-part=[A-Za-z0-9+%]{1,80})?$")
_UNUSED = re.compile(r"^/(auth/.*|oauth2callback|_stcore/(agent/.*|metrics))$")  # Streamlit's own, and not ours
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
# What of our own runs in a page: where the session is over, on to the log-in.
TO_LOGIN = f'window.location.replace("{LOGIN}")'
# And the few that take what a link holds out of the address bar, and into the form.
FROM_LINK = (
    'var code = location.hash.slice(1), field = document.getElementById("code"); if (code && field) { '
    'history.replaceState(null, "", location.pathname); field.value = code; field.parentElement.hidden = true; }'
)


class Front:
    """ASGI middleware around Streamlit and our own routes.

    What it finds out is there for them in ``scope["state"]``: ``cookie``, ``session``, ``address``, ``https``.

    Parameters
    ----------
    app : ASGIApp
        What is behind it.
    settings : Settings
        Hosts, proxies, port, TLS.
    sessions : Sessions
        Who is logged in.
    """

    def __init__(self, app: ASGIApp, settings: Settings, sessions: Sessions) -> None:
        self._app, self._sessions = app, sessions
        self._hosts = {*settings.trusted_hosts, settings.host}
        self._proxies = frozenset(settings.trusted_proxies)
        self._tls = settings.tls_cert is not None
        self._port = settings.dashboard_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        state = scope.setdefault("state", {})
        state["address"], state["https"] = self._who(connection)
        state["cookie"] = connection.cookies.get(cookie_name(self._port, https=state["https"]))
        state["session"] = self._sessions.find(state["cookie"])
        headers = [*_HEADERS, (b"content-security-policy", _policy()), *([_HSTS] if state["https"] else [])]

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in headers if h[0] not in given)]
            elif len(message.get("body", b"")) > PIECE:
                await send_in_pieces(send, message)
                return
            await send(message)

        refusal = self._refusal(connection, state)
        if refusal is None:
            await self._app(scope, receive, send_marked)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, send_marked)

    def _refusal(self, connection: HTTPConnection, state: dict[str, object]) -> Response | None:
        path, host = connection.scope["path"], connection.headers.get("host", "")
        if not self._known_host(host) and path != "/_stcore/health":
            return PlainTextResponse("This host is not served here. See PUNCTUAL_TRUSTED_HOSTS.\n", 421)
        if _UNUSED.match(path):
            return PlainTextResponse("There is nothing here.\n", 404)
        if connection.scope["type"] == "websocket":
            # Any page may open one, and from another port of this host our cookie comes along. (A page of ours whose
            # session is over is told so by the page itself.)
            ours = own_origin(connection.headers.get("origin"), host)
            return None if ours else PlainTextResponse("This is for pages from here alone.\n", 403)
        if _OPEN.match(path):
            return None
        page = connection.scope["method"] == "GET" and "text/html" in connection.headers.get("accept", "")
        session = state["session"]
        if not isinstance(session, Session):
            if page:
                asked = f"{path}?{connection.scope['query_string'].decode('latin-1')}"
                onward = asked if own_page(asked) == asked else path  # with the part of the page, if one was asked for
                return RedirectResponse(f"{LOGIN}?next={quote(onward)}" if path != "/" else LOGIN, 303)
            return PlainTextResponse("Log in first.\n", 401)
        if session.must_change and page and path != PASSWORD:
            return RedirectResponse(PASSWORD, 303)
        if page and path == _FIRST:
            return RedirectResponse("/", 303)
        return None

    def _known_host(self, host: str) -> bool:
        return "*" in self._hosts or host_name(host) in self._hosts

    def _who(self, connection: HTTPConnection) -> tuple[str, bool]:
        address = connection.client.host if connection.client else ""
        if address not in self._proxies:
            return address, self._tls
        https = self._tls or connection.headers.get("x-forwarded-proto") == "https"
        return client_address(connection.headers.get("x-forwarded-for", ""), self._proxies) or address, https


def own_origin(origin: str | None, host: str) -> bool:
    """Say whether an ``Origin`` is the host and port that was asked; only what is no browser leaves it out."""
    if origin is None:
        return True
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:  # no address at all
        return False


def own_page(text: str) -> str:
    """Return the page to go on to, with the part of it that was asked for: one of ours, whatever a link says."""
    return text if _PAGE.match(text) and not text.startswith("//") else "/"


def cookie_name(port: int, *, https: bool) -> str:
    """Return what the session's cookie is called: browsers do not tell the ports of one machine apart, so it does."""
    return f"__Host-punctual-{port}" if https else f"punctual-{port}"


@lru_cache(maxsize=1)
def _policy() -> bytes:
    """Return the content security policy: nothing from elsewhere, and of inline scripts only those that are known."""
    streamlit = find_spec("streamlit")  # (found, not imported: that takes a second)
    index = Path(str(streamlit and streamlit.origin)).parent / "static" / "index.html"
    known = [*_INLINE.findall(index.read_text("utf-8")), TO_LOGIN, FROM_LINK]
    scripts = " ".join(f"'sha256-{_sha256(script)}'" for script in known)
    parts = (
        "default-src 'self'",
        f"script-src 'self' 'wasm-unsafe-eval' {scripts}",
        "style-src 'self' 'unsafe-inline'",  # Streamlit makes its styles as it goes
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' ws: wss:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
    return "; ".join(parts).encode()


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
