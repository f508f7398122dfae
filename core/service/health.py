"""Whether a process is alive, whether it is ready, and how each thing is that it depends on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Response

from core.errors import PunctualError
from core.service.access import PUBLIC, requires
from core.service.problems import json_response

Check = Callable[[], Awaitable[Mapping[str, Any]]]


def add_health(app: FastAPI, name: str, checks: Mapping[str, Check]) -> None:
    """Add ``/health`` (ready, with every dependency), ``/health/live`` and ``/health/ready``.

    Parameters
    ----------
    app : FastAPI
        The service.
    name : str
        The service's name, in the answer.
    checks : mapping of str to async callable
        Each dependency's check: returns facts about it, or raises a ``PunctualError``. A fact ``status`` of
        ``"degraded"`` says that something is not as it should be and the service is ready all the same.
    """
    look = _Look(checks)

    async def ready() -> Response:
        found = await look.facts()
        good = all(dependency["status"] != "error" for dependency in found.values())
        status = "ready" if good else "unavailable"
        content = {"service": name, "status": status, "live": True, "dependencies": found}
        return json_response(content, 200 if good else 503)

    @app.get("/health/live", tags=["operations"], summary="Is the process alive?", openapi_extra=requires(PUBLIC))
    async def live() -> Response:
        return json_response({"service": name, "live": True})

    for path in ("/health", "/health/ready"):
        app.get(
            path,
            tags=["operations"],
            summary="Is the service ready, and how is what it depends on?",
            openapi_extra=requires(PUBLIC),
            operation_id=f"ready{path.replace('/', '_')}",
            responses={503: {"description": "Not ready; the body says which dependency is away."}},
        )(ready)


class _Look:
    """Makes the checks, one round at a time: however many ask meanwhile, all get what that round finds."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._round: asyncio.Task[dict[str, dict[str, Any]]] | None = None

    async def facts(self) -> dict[str, dict[str, Any]]:
        """Return what is found, by dependency."""
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._all())
        return await asyncio.shield(self._round)  # whoever goes away takes nobody's answer along

    async def _all(self) -> dict[str, dict[str, Any]]:
        return {dependency: await _checked(check) for dependency, check in self._checks.items()}


async def _checked(check: Check) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        facts: Mapping[str, Any] = await check()
        status = "ok"
    except PunctualError as error:
        facts, status = {"detail": str(error)}, "error"
    return {"status": status, "milliseconds": round((time.perf_counter() - start) * 1000, 2), **facts}
