"""Bounds request bodies: none is read further than it may be long, and none is left on the connection unsaid."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from core.errors import BatchTooLarge

_READ = "punctual.read"  # in the scope of a request whose body was read to its end
_DISCARD_SECONDS = 1.0


async def read_body(request: Request, limit: int) -> None:
    """Read the body and keep it with the request: whoever asks for it later has it at hand.

    Parameters
    ----------
    limit : int
        Most bytes.

    Raises
    ------
    BatchTooLarge
        When the body says that it is longer, or turns out to be; the rest is not read.
    ClientDisconnect
        When the client goes away while it sends.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
        more = message.get("more_body", False)
    request._body = b"".join(chunks)
    request.scope[_READ] = True


async def discard_body(scope: Scope, receive: Receive, limit: int) -> bool:
    """Read and forget what is left of a body; say whether the connection is good for another request.

    A request that is refused before its body was read leaves it on the connection. The server then closes that, and
    the client's next request on it would fail for no reason that the client could see.

    Parameters
    ----------
    limit : int
        Most bytes; a client that sends more, or that takes longer than a second, is to be told that we close.
    """
    if _READ in scope:
        return True
    announced = Request(scope).headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        return False
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            size, more = 0, True
            while more and size <= limit:
                message = await receive()
                size += len(message.get("body", b""))
                more = message.get("more_body", False)
    except TimeoutError:
        return False
    return not more


def _too_large(limit: int) -> BatchTooLarge:
    return BatchTooLarge(
        f"The body is larger than {limit} bytes.", hint="Send less at once, or raise PUNCTUAL_MAX_BODY_BYTES."
    )
