"""Long answers go out piece by piece, each when the one before has left.

So the server sees at what pace a client takes them, also over TLS, which hides how much of one long piece still waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Send

PIECE = 65_536


async def send_in_pieces(send: Send, message: Message) -> None:
    """Send an ``http.response.body`` that is longer than one piece."""
    body, more = memoryview(message["body"]), message.get("more_body", False)
    for end in range(PIECE, len(body) + PIECE, PIECE):
        await send({**message, "body": bytes(body[end - PIECE : end]), "more_body": more or end < len(body)})
