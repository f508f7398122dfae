"""Forms of who is not logged in: bound to a cookie of their browser, and taken from pages of ours alone."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, Response

from core.errors import Forbidden, InvalidRequest, PunctualError, TooManyRequests, Unauthenticated
from dashboard.front import cookie_name, own_origin

if TYPE_CHECKING:
    from starlette.requests import Request

_LARGEST = 8192
OLD_FORM = "That form was too old, or came from elsewhere. Try again."


class Bound:
    """Makes and checks what such forms must bring back.

    Parameters
    ----------
    port : int
        The dashboard's, which is part of the cookies' names.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._secret = secrets.token_bytes(32)

    def show(
        self, request: Request, page: Callable[[str], str], status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Return a page, made with the token that its form must bring back."""
        bound = self._cookie(request) or secrets.token_urlsafe(24)
        response = HTMLResponse(
            page(self._token(bound)), status, headers={"cache-control": "no-store", **(headers or {})}
        )
        response.set_cookie(value=bound, **(self.attributes(request) | {"key": self._name(request)}))
        return response

    def ours(self, request: Request, form: Mapping[str, str], *, nameless: bool = False) -> bool:
        """Say whether a form came from a page of ours in this browser; ``nameless`` as in :func:`from_here`."""
        bound = self._cookie(request)
        same = hmac.compare_digest(form.get("form", "").encode(), self._token(bound).encode())
        return bool(bound) and same and from_here(request, nameless=nameless)

    def attributes(self, request: Request) -> dict[str, Any]:
        """Return what the session's cookie is set with: no script and no other site sees it."""
        https = request.state.https
        name = cookie_name(self._port, https=https)
        return {"key": name, "httponly": True, "samesite": "strict", "secure": https, "path": "/"}

    def _token(self, bound: str) -> str:
        return hmac.new(self._secret, bound.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _name(self, request: Request) -> str:
        return f"{cookie_name(self._port, https=request.state.https)}-form"

    def _cookie(self, request: Request) -> str:
        return request.cookies.get(self._name(request), "")


def from_here(request: Request, *, nameless: bool = False) -> bool:
    """Say whether a browser sent this from a page of ours: both of what it tells must agree, where it tells.

    Parameters
    ----------
    request : Request
        What was sent.
    nameless : bool
        Whether its page has the policy ``no-referrer``: a browser then calls the origin of a form ``null``, and says by
        ``Sec-Fetch-Site`` alone where it is from; without TLS, not even that. The form's token has to do there.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if nameless and origin == "null":
        return site == "same-origin" or (site is None and not request.state.https)
    if site is None and origin is None:
        return False
    return site in (None, "same-origin") and own_origin(origin, request.headers.get("host", ""))


async def read(request: Request) -> dict[str, str]:
    """Return a form's fields, the first of each.

    Raises
    ------
    InvalidRequest
        When it is longer than any of ours, or has more fields.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST:
            raise InvalidRequest("That is longer than any name and password.")
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    except ValueError as error:
        raise InvalidRequest("That has more fields than any form here.") from error
    return {name: values[0] for name, values in fields.items()}


def status_of(error: PunctualError) -> int:
    """Return the status of a page that tells of an error."""
    known = (Unauthenticated, Forbidden, InvalidRequest, TooManyRequests)
    return error.status if isinstance(error, known) else 503
