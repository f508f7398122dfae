"""Bounds request bodies: none is read further than it may be long."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from core.errors import BatchTooLarge


class TooLarge(HTTPException):
    """A body that is too large, in the only kind of exception that the framework lets out while it reads one."""

    def __init__(self, limit: int) -> None:
        super().__init__(413)
        self.error = _too_large(limit)


def limited(request: Request, limit: int) -> Request:
    """Return the request with a body that cannot be read beyond ``limit`` bytes.

    Raises
    ------
    BatchTooLarge
        When it says that it is longer.
    TooLarge
        By whatever reads it, when it turns out to be.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    receive, size = request.receive, 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise TooLarge(limit)
        return message

    return Request(request.scope, counted, request._send)


def _too_large(limit: int) -> BatchTooLarge:
    return BatchTooLarge(
        f"The body is larger than {limit} bytes.", hint="Send less at once, or raise PUNCTUAL_MAX_BODY_BYTES."
    )
