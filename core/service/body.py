"""Reads request bodies, no further than they may be long."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from core.errors import BatchTooLarge


class TooLarge(HTTPException):
    """A body that is too large, in the only kind of exception that the framework lets out while it reads one."""

    def __init__(self, limit: int) -> None:
        super().__init__(413)
        self.error = too_large(limit)


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
        raise too_large(limit)
    receive, size = request.receive, 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise TooLarge(limit)
        return message

    return Request(request.scope, counted, request._send)


async def read_body(request: Request) -> bytes:
    """Return the request's body, refusing it as soon as it is larger than the service allows.

    Raises
    ------
    BatchTooLarge
        With the limit in its message.
    """
    limit: int = request.app.state.max_body_bytes
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    stream: AsyncIterator[bytes] = request.stream()
    async for part in stream:
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def too_large(limit: int) -> BatchTooLarge:
    """Return the error for a body of more than ``limit`` bytes."""
    return BatchTooLarge(
        f"The body is larger than {limit} bytes.", hint="Send less at once, or raise PUNCTUAL_MAX_BODY_BYTES."
    )
