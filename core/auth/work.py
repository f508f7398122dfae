"""Work on the accounts that a route has to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from fastapi import Request

    from core.auth.accounts import Accounts

_T = TypeVar("_T")


async def do(request: Request, work: Callable[[Accounts], _T], *, changes: bool = True) -> _T:
    """Run work on the accounts beside the event loop; this service knows of a change at once."""
    state = request.app.state
    found = await asyncio.to_thread(work, state.accounts)
    if changes:
        await asyncio.to_thread(state.guard.refresh)
    return found


async def admitted(request: Request) -> str:
    """Return where a log-in, or anything else without one, comes from, once its address may try again.

    Raises
    ------
    TooManyRequests
        When it tried too often.
    """
    address = str(request.scope["punctual.address"])
    await request.app.state.limiter.admit_login(address)
    return address
