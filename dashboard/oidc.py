"""Log-in by an OpenID Connect provider: the authorization code flow with PKCE, from a browser that is known again.

Where a log-in is at is kept here, in memory, for ten minutes, under a hash of its state, and is good once. The ID token
goes to the data service, which checks it, and gives one of our own tokens for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

import httpx
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from core.errors import PunctualError, ServiceUnavailable, Unauthenticated
from core.oidc import Provider
from core.places import dashboard_address
from dashboard.bound import status_of
from dashboard.forms import arrived_page
from dashboard.front import OIDC, OIDC_BACK
from dashboard.session import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from core.oidc import OidcClient
    from core.settings import Settings
    from dashboard.bound import Bound
    from dashboard.session import Sessions

log = logging.getLogger("punctual.dashboard")

_SCOPE = "openid email profile"
_SECONDS = 600.0
_MOST = 10_000
_TIMEOUT = 10.0
_HEADERS = {"referrer-policy": "no-referrer", "cache-control": "no-store"}
_LOST = "That log-in took too long, was done already, or began in another browser. Try again."
_REFUSED = "The log-in was refused there."


@dataclass(frozen=True)
class _Begun:
    nonce: str
    verifier: str
    browser: bytes
    target: str
    until: float


class Oidc:
    """The routes.

    Parameters
    ----------
    client : OidcClient
        The provider, and what we are to it.
    settings : Settings
        Where the dashboard is.
    forms : Bound
        Knows what cookies are called.
    sessions : Sessions
        What a log-in starts.
    failed : callable
        Shows the log-in with what went wrong: request, words, status.
    target : callable
        Returns the page of ours that a text names.

    Raises
    ------
    ConfigError
        When the dashboard's address is none.
    """

    def __init__(
        self,
        client: OidcClient,
        settings: Settings,
        forms: Bound,
        sessions: Sessions,
        failed: Callable[[Request, str, int], Response],
        target: Callable[[str], str],
    ) -> None:
        self._forms, self._sessions, self._failed, self._target = forms, sessions, failed, target
        self._back = f"{dashboard_address(settings)}{OIDC_BACK}"
        self._begun: dict[bytes, _Begun] = {}
        self._client, self._provider = client, Provider(client.issuer)

    def routes(self) -> list[Route]:
        """Return them."""
        return [Route(OIDC, self.start, methods=["GET"]), Route(OIDC_BACK, self.back, methods=["GET"])]

    async def start(self, request: Request) -> Response:
        """Send a browser to the provider, and remember it."""
        state, browser = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        target = self._target(request.query_params.get("next", ""))
        begun = _Begun(
            secrets.token_urlsafe(32), secrets.token_urlsafe(48), _digest(browser), target, time.monotonic() + _SECONDS
        )
        try:
            address = await asyncio.to_thread(self._address, state, begun)
        except PunctualError as error:
            return self._failed(request, str(error), status_of(error))
        self._keep(state, begun)
        response = RedirectResponse(address, 303, headers=_HEADERS)
        response.set_cookie(value=browser, max_age=int(_SECONDS), **self._cookie(request))
        return response

    async def back(self, request: Request) -> Response:
        """Take what the provider says of somebody, once, from the browser that asked, and start a session."""
        given = request.query_params
        begun = self._begun.pop(_digest(given.get("state", "")), None)
        browser = _digest(request.cookies.get(self._cookie(request)["key"], ""))
        if begun is None or time.monotonic() > begun.until or not compare_digest(begun.browser, browser):
            return self._failed(request, _LOST, 403)
        # A provider that names itself must be the one that was asked, or one answers for another.
        if given.get("iss", self._client.issuer) != self._client.issuer:
            return self._failed(request, _LOST, 403)
        if "error" in given or not given.get("code"):
            return self._failed(request, _REFUSED, 403)
        try:
            cookie = await asyncio.to_thread(self._log_in, given["code"], begun, request.state.address)
        except PunctualError as error:
            return self._failed(request, str(error), status_of(error))
        # A page, and no redirect: it is a page of ours that goes on then, and strict cookies go along.
        response = HTMLResponse(arrived_page(begun.target), headers=_HEADERS)
        response.set_cookie(value=cookie, max_age=int(LONGEST.total_seconds()), **self._forms.attributes(request))
        response.delete_cookie(**self._cookie(request))
        return response

    def _address(self, state: str, begun: _Begun) -> str:
        metadata = self._provider.metadata()
        with httpx.Client() as http:
            found, _ = self._oauth(http).create_authorization_url(
                metadata["authorization_endpoint"], state=state, nonce=begun.nonce, code_verifier=begun.verifier
            )
        return str(found)

    def _log_in(self, code: str, begun: _Begun, address: str) -> str:
        return self._sessions.log_in_by_identity(self._id_token(code, begun.verifier), begun.nonce, address)

    def _id_token(self, code: str, verifier: str) -> str:
        """Return the ID token that the provider gives for a code."""
        from authlib.common.errors import AuthlibBaseError

        metadata, client = self._provider.metadata(), self._client
        ways = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        named: dict[str, str] = {}
        auth: httpx.Auth = httpx.Auth()  # that adds nothing
        if client.secret is None:
            named = {"client_id": client.id}
        elif "client_secret_basic" in ways:
            auth = httpx.BasicAuth(client.id, client.secret)
        else:
            named = {"client_id": client.id, "client_secret": client.secret}
        try:
            with httpx.Client(timeout=_TIMEOUT, follow_redirects=False) as http:
                token = self._oauth(http).fetch_token(
                    metadata["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=verifier,
                    auth=auth,
                    **named,
                )
            found = token["id_token"]
        except (AuthlibBaseError, KeyError, TypeError, ValueError) as error:
            log.warning("the OIDC provider gave no ID token", extra={"detail": type(error).__name__})
            raise Unauthenticated(_REFUSED) from error
        except httpx.HTTPError as error:
            raise ServiceUnavailable("The OIDC provider does not answer.", hint="Try again in a while.") from error
        return str(found)

    def _oauth(self, http: httpx.Client) -> Any:
        from authlib.oauth2.client import OAuth2Client

        return OAuth2Client(
            http,
            client_id=self._client.id,
            redirect_uri=self._back,
            scope=_SCOPE,
            code_challenge_method="S256",
        )

    def _keep(self, state: str, begun: _Begun) -> None:
        now = time.monotonic()
        for digest, old in list(self._begun.items()):
            if now <= old.until and len(self._begun) < _MOST:
                break  # (they are in order of their age)
            self._begun.pop(digest, None)
        self._begun[_digest(state)] = begun

    def _cookie(self, request: Request) -> dict[str, Any]:
        # Lax: it comes back with the browser that the provider sends here, as a strict one would not.
        attributes = self._forms.attributes(request)
        return attributes | {"key": f"{attributes['key']}-oidc", "samesite": "lax"}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
