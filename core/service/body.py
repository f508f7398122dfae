"""Bounds request bodies: none is read further than it may be long."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from core.errors import BatchTooLarge


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


def _too_large(limit: int) -> BatchTooLarge:
    return BatchTooLarge(
        f"The body is larger than {limit} bytes.", hint="Send less at once, or raise PUNCTUAL_MAX_BODY_BYTES."
    )
