"""Every error a user can meet.

::

    PunctualError
    ├── ConfigError            a setting, problem.yaml, or the feature repo is wrong
    │   └── PortInUse          something else listens where a server should
    ├── DataError              raw or feature data cannot be used
    │   ├── NoData             nothing has been fetched, transformed or trained yet
    │   └── SourceError        the feature repo's source.py failed or broke its contract
    ├── RequestError           a request is wrong (HTTP 4xx)
    │   ├── InvalidRequest     malformed, a wrong type, a missing key, an empty batch
    │   ├── UnknownEntity      an id that the online store does not know
    │   ├── BatchTooLarge      more entities than one request may hold
    │   ├── StaleFeatures      a view whose policy is `refuse` is older than its promise
    │   ├── Unauthenticated    no key or token, or one that is not good (401)
    │   ├── Forbidden          a good key or token that may not do this (403)
    │   ├── NotFound           nothing of that name or id (404)
    │   ├── Conflict           what is there now does not allow it (409)
    │   └── TooManyRequests    over a rate limit, or locked out for a while (429)
    ├── Unavailable            something we depend on is away (HTTP 503)
    │   ├── StoreUnavailable   Redis does not answer
    │   ├── ModelUnavailable   no champion to serve
    │   ├── Overloaded         the prediction log cannot keep up
    │   ├── DatabaseUnavailable  accounts, ledger and jobs cannot be read or written
    │   ├── ServiceUnavailable   another of our services does not answer
    │   └── TimedOut           the answer took longer than allowed (HTTP 504)
    ├── JobFailed              a durable job ended without its result
    └── CheckFailed            a check ran and found what it looks for (leakage, skew, a gate)

An error says what is wrong, with which value, and (``hint``) what to do about it.
"""

from __future__ import annotations

from typing import Any, ClassVar


class PunctualError(Exception):
    """Base of all expected errors: shown as one line, never as a stack trace.

    Parameters
    ----------
    message : str
        What is wrong, with the offending value.
    hint : str, optional
        What the reader can do about it.
    context : dict
        Machine-readable members for RFC 9457 problem details, for example ``entity=3``.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Failed"

    def __init__(self, message: str, *, hint: str = "", **context: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = context

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def problem(self) -> dict[str, Any]:
        """Return the RFC 9457 problem-details members of this error."""
        slug = "".join(f"-{c.lower()}" if c.isupper() else c for c in type(self).__name__).lstrip("-")
        detail = {"type": f"urn:punctual:problem:{slug}", "title": self.title, "status": self.status}
        return {**detail, "detail": str(self), **self.context}


class ConfigError(PunctualError):
    """A setting, problem.yaml, or a file of the feature repo is wrong."""

    title = "Wrong configuration"


class PortInUse(ConfigError):
    """Another program listens on the port that a server of ours needs."""

    title = "Port in use"


class DataError(PunctualError):
    """Raw or feature data cannot be used."""

    title = "Unusable data"


class NoData(DataError):
    """An earlier step has not run yet."""

    title = "Nothing there yet"


class SourceError(DataError):
    """The feature repo's ``source.py`` failed, or what it returned breaks the contract."""

    title = "The raw source failed"


class RequestError(PunctualError):
    """The client sent something that cannot be answered."""

    status = 422
    title = "Invalid request"


class InvalidRequest(RequestError):
    """Malformed input: a wrong type, a missing key, an empty batch."""


class UnknownEntity(RequestError):
    """The online store does not know this id."""

    status = 404
    title = "Unknown entity"


class BatchTooLarge(RequestError):
    """More entities, or more bytes, than one request may hold."""

    status = 413
    title = "Batch too large"


class StaleFeatures(RequestError):
    """A view whose freshness policy is ``refuse`` is older than it promises."""

    status = 409
    title = "Features are stale"


class Unauthenticated(RequestError):
    """No key or token was sent, or one that is wrong, expired or revoked; which of them is not told."""

    status = 401
    title = "Not authenticated"


class Forbidden(RequestError):
    """A good key or token whose scopes do not allow this."""

    status = 403
    title = "Not allowed"


class NotFound(RequestError):
    """Nothing of that name or id."""

    status = 404
    title = "Not found"


class Conflict(RequestError):
    """What is there now does not allow this."""

    status = 409
    title = "Conflict"


class TooManyRequests(RequestError):
    """Over a rate limit, or locked out for a while.

    ``context["retry_after"]`` (seconds, whole) becomes the Retry-After header.
    """

    status = 429
    title = "Too many requests"


class Unavailable(PunctualError):
    """Something this service depends on is away; trying again later may work."""

    status = 503
    title = "Service unavailable"


class StoreUnavailable(Unavailable):
    """The online store does not answer."""

    title = "Online store unavailable"


class ModelUnavailable(Unavailable):
    """There is no champion model to serve."""

    title = "No model to serve"


class Overloaded(Unavailable):
    """The prediction log cannot keep up, and a prediction that cannot be traced is not given."""

    title = "Overloaded"


class DatabaseUnavailable(Unavailable):
    """The database of accounts, ledger and jobs does not answer."""

    title = "Database unavailable"


class ServiceUnavailable(Unavailable):
    """Another of our services does not answer, or answers wrongly."""

    title = "A service is unavailable"


class TimedOut(Unavailable):
    """The answer took longer than allowed."""

    status = 504
    title = "Timed out"


class JobFailed(PunctualError):
    """A durable job ended without its result."""

    title = "The job failed"


class CheckFailed(PunctualError):
    """A check ran to its end and found what it looks for."""

    title = "Check failed"
