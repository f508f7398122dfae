"""Bounds request bodies: none is read further than it may be long, nor for longer than it may take."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from core.errors import BatchTooLarge, TimedOut

if TYPE_CHECKING:
    from core.service.deadlines import Deadline

SLOWEST = 64_000  # bytes a second, from the first to the latest, at which a large body must come


async def read_large_body(request: Request, limit: int) -> None:
    """Read a body that may take longer than an answer: :func:`read_body`, with a time that grows with what has come.

    It must come at :data:`SLOWEST`, after the seconds that an answer may take; those are given anew for the answer.

    Raises
    ------
    TimedOut
        When it comes more slowly.
    """
    deadline: Deadline = request.scope["punctual.deadline"]
    seconds = request.app.state.settings.request_timeout
    deadline.lift()
    try:
        async with asyncio.timeout(seconds) as patience:
            await read_body(request, limit, patience)
    except TimeoutError as error:
        raise TimedOut(
            f"The body came at less than {SLOWEST // 1000} kB/s.",
            hint="Send less at once, or over a faster connection.",
        ) from error
    deadline.renew()


async def read_body(request: Request, limit: int, patience: asyncio.Timeout | None = None) -> None:
    """Read the body and keep it with the request: whoever asks for it later has it at hand.

    Parameters
    ----------
    limit : int
        Most bytes.
    patience : asyncio.Timeout, optional
        Grows with every byte.

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
        if patience is not None and (due := patience.when()) is not None:
            patience.reschedule(due + len(chunks[-1]) / SLOWEST)
        more = message.get("more_body", False)
    request._body = b"".join(chunks)


def _too_large(limit: int) -> BatchTooLarge:
    return BatchTooLarge(
        f"The body is larger than {limit} bytes.", hint="Send less at once, or raise PUNCTUAL_MAX_BODY_BYTES."
    )
