"""An answer in pieces is the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.pieces import PIECE, send_in_pieces


@pytest.mark.parametrize("length", [PIECE + 1, 2 * PIECE, 3 * PIECE - 1])
@pytest.mark.parametrize("more", [False, True])
def test_all_of_it_is_sent_and_its_end_is_said_once(length: int, more: bool) -> None:
    body, sent = bytes(i % 251 for i in range(length)), list[dict[str, Any]]()

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(send_in_pieces(send, {"type": "http.response.body", "body": body, "more_body": more}))
    assert b"".join(message["body"] for message in sent) == body
    assert max(len(message["body"]) for message in sent) <= PIECE
    assert [message["more_body"] for message in sent] == [True] * (len(sent) - 1) + [more]
