"""One service calling another: timeouts, retries where they are safe, a circuit breaker, correlation id and key."""

from __future__ import annotations

import logging
import secrets
import ssl
import time
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import httpx
import orjson
import stamina

from core import errors
from core.errors import PunctualError, ServiceUnavailable, TooManyRequests, Unavailable
from core.logs import correlation_id

if TYPE_CHECKING:
    from pathlib import Path

    from pybreaker import CircuitBreaker

log = logging.getLogger("punctual.client")

TIMEOUT = httpx.Timeout(10.0, connect=2.0)
_LONGEST_SECONDS = 60.0  # for a whole answer, however steadily it drips
_ATTEMPTS = 4
_FAILURES = 5  # in a row, and the breaker opens
_OPEN_SECONDS = 5.0
_MOST_BYTES = 64_000_000
_AWAY = frozenset((502, 503, 504))
_OURS = "urn:punctual:problem:"  # what the types of our services' problem details begin with
_SAFE = frozenset(("GET", "HEAD"))
_BY_STATUS: dict[int, type[PunctualError]] = {
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.BatchTooLarge,
    422: errors.InvalidRequest,
    429: errors.TooManyRequests,
    504: errors.TimedOut,
}


@dataclass(frozen=True)
class Answer:
    """A whole answer of a service.

    Attributes
    ----------
    service : str
        Whose it is.
    status : int
        HTTP status; 200 to 299 for all that :meth:`HttpClient.call` returns.
    headers : mapping
        Case-insensitive.
    body : bytes
        Decoded from whatever encoding it came in.
    """

    service: str
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether it is what was asked for; no service of ours sends one elsewhere."""
        return httpx.codes.is_success(self.status)

    def json(self) -> Any:
        """Return the body read as JSON.

        Raises
        ------
        ServiceUnavailable
            When it is none.
        """
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise ServiceUnavailable(
                f"The {self.service} service answered with what is no JSON: {error}.",
                hint="Is something else listening at its address?",
            ) from error


class HttpClient:
    """Calls one service, from any thread; all clients of one address in a process share a circuit breaker.

    Parameters
    ----------
    base_url : str
        ``http(s)://host:port``.
    name : str
        What the service is called in errors and logs.
    key : str, optional
        API key or session token.
    certificate : Path, optional
        A certificate to trust beside the machine's own.
    timeout : httpx.Timeout
        Seconds to connect, and for each read and write.
    """

    def __init__(
        self,
        base_url: str,
        name: str,
        *,
        key: str | None = None,
        certificate: Path | None = None,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> None:
        self.name, self.base_url = name, base_url.rstrip("/")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(
            base_url=self.base_url,
            headers=headers,
            timeout=timeout,
            verify=trust(certificate),
            limits=httpx.Limits(max_connections=20, keepalive_expiry=20),
        )
        self._breaker = _breaker(self.base_url)
        self._shown: dict[str, str] = {}

    def showing(self, key: str) -> Self:
        """Return a client over the same connections, and behind the same breaker, that shows another key."""
        twin = copy(self)
        twin._shown = {"authorization": f"Bearer {key}"}
        return twin

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        retry: bool | None = None,
    ) -> Answer:
        """Return the answer to a request, its body read whole.

        Parameters
        ----------
        method, path : str
            What to call.
        json, content, params, headers
            What to send, as httpx takes them.
        retry : bool, optional
            Whether sending it twice does no harm: by default for GET and HEAD. A POST with an idempotency key may
            say so.

        Raises
        ------
        ServiceUnavailable
            When the service does not answer, answers with an error of its own (in its words) or with half an answer, or
            often did not answer just now (the breaker is open).
        PunctualError
            The service's own refusal (401, 403, 404, 409, 413, 422, 429), in its words.
        """
        again = method in _SAFE if retry is None else retry
        sent = {"x-request-id": correlation_id.get() or secrets.token_hex(8), **self._shown, **(headers or {})}
        given = {"json": json, "content": content, "params": params, "headers": sent}
        for attempt in stamina.retry_context(
            on=lambda error: again and _worth_another_try(error),
            attempts=_ATTEMPTS,
            timeout=30.0,
            wait_initial=0.1,
            wait_max=2.0,
            wait_jitter=0.2,
        ):
            with attempt:
                return self._once(method, path, given)
        raise AssertionError("the loop returns or raises")  # tells mypy so

    def _once(self, method: str, path: str, given: dict[str, Any]) -> Answer:
        from pybreaker import CircuitBreakerError

        try:
            answer = self._breaker.call(self._send, method, path, given)
        except CircuitBreakerError as error:
            raise ServiceUnavailable(
                f"The {self.name} service at {self.base_url} failed {_FAILURES} times in a row.",
                hint=f"It is left alone for {_OPEN_SECONDS:g} s; see its /health.",
            ) from error
        if not answer.is_success:
            raise _refusal(answer)
        return answer

    def _send(self, method: str, path: str, given: dict[str, Any]) -> Answer:
        start = time.perf_counter()
        try:
            with self._client.stream(method, path, **given) as response:
                body = _read(response, start + _LONGEST_SECONDS)
        except (httpx.TransportError, httpx.DecodingError, ValueError) as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise ServiceUnavailable(
                f"The {self.name} service at {self.base_url} does not answer: {reason}.",
                hint="Is it running? `punctual doctor` shows what answers.",
            ) from error
        facts = {"service": self.name, "method": method, "path": path, "status": response.status_code}
        log.debug("called", extra={**facts, "milliseconds": round((time.perf_counter() - start) * 1000, 1)})
        answer = Answer(self.name, response.status_code, response.headers, body)
        if answer.status in _AWAY and not _is_ours(answer):
            raise _refusal(answer)  # within the breaker, which counts it
        return answer


@lru_cache(maxsize=100)
def _breaker(url: str) -> CircuitBreaker:
    """Return the breaker of an address: what one client found out, the next one of this process need not."""
    from pybreaker import CircuitBreaker  # it brings redis along, for which a command that calls nobody need not wait

    return CircuitBreaker(
        fail_max=_FAILURES,
        reset_timeout=_OPEN_SECONDS,
        # What is wrong with a request says nothing about the service.
        exclude=[lambda error: not isinstance(error, Unavailable)],
        name=url,
        throw_new_error_on_trip=False,
    )


def _read(response: httpx.Response, deadline: float) -> bytes:
    size, parts = 0, []
    for part in response.iter_bytes():
        size += len(part)
        if time.perf_counter() > deadline:
            raise ValueError(f"its answer is not whole after {_LONGEST_SECONDS:g} s")
        if size > _MOST_BYTES:
            raise ValueError(f"its answer is longer than {_MOST_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _members(answer: Answer) -> dict[str, Any]:
    """Return the problem details of an answer, or nothing where it has none."""
    try:
        members = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return members if isinstance(members, dict) and "detail" in members else {}


def _is_ours(answer: Answer) -> bool:
    """Say whether a service of ours says so itself: it is there, and what is away is away for this one route."""
    return str(_members(answer).get("type")).startswith(_OURS)


def _refusal(answer: Answer) -> PunctualError:
    members = _members(answer)
    detail = str(members.get("detail", f"It answered {answer.status} without saying why."))
    context: dict[str, Any] = {k: members[k] for k in ("errors", "correlation_id") if k in members}
    kind = _BY_STATUS.get(answer.status)
    if answer.status == 503 and _is_ours(answer):
        kind = ServiceUnavailable
        context["title"] = str(members.get("title", kind.title))
    if kind is None:
        return ServiceUnavailable(f"The {answer.service} service: {detail}", **context)
    wait = answer.headers.get("retry-after", "")
    if kind is TooManyRequests and wait.isdigit():
        context["retry_after"] = int(wait)
    return kind(detail, **context)


def _worth_another_try(error: Exception) -> bool | float:
    """Say whether to try again; a service that says how long to wait is believed, up to two seconds."""
    if isinstance(error, TooManyRequests):
        wait = error.context.get("retry_after", 1)
        return float(wait) if wait <= 2 else False
    return isinstance(error, ServiceUnavailable | errors.TimedOut)


def trust(certificate: Path | None) -> ssl.SSLContext:
    """Return what to trust: the machine's own authorities, and one certificate beside them."""
    context = ssl.create_default_context()
    if certificate is not None:
        context.load_verify_locations(certificate)
    return context
