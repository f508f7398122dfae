"""Whether a process is alive, whether it is ready, and how each thing is that it depends on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from fastapi import FastAPI, Response

from core.errors import PunctualError
from core.service.access import PUBLIC, requires
from core.service.answers import Health, Live, answer
from core.service.problems import json_response, problems

log = logging.getLogger("punctual.service")

CHECK_SECONDS = 1.5  # for each; shorter than who looks waits for the whole answer
Check = Callable[[], Awaitable[Mapping[str, Any]]]


def add_health(app: FastAPI, name: str, checks: Mapping[str, Check], spare: Collection[str] = ()) -> None:
    """Add ``/health`` (ready, with every dependency), ``/health/live`` and ``/health/ready``.

    Parameters
    ----------
    app : FastAPI
        The service.
    name : str
        The service's name, in the answer.
    checks : mapping of str to async callable
        Each dependency's check: returns facts about it, or raises a ``PunctualError``. One that takes longer than
        ``CHECK_SECONDS`` counts as failed. A fact ``status`` of ``"degraded"`` says that something is not as it should
        be and the service is ready all the same.
    spare : collection of str
        The dependencies that it does without: whatever is wrong with them, it is ready.
    """
    look = _Look(checks, spare)

    async def ready() -> Response:
        found = await look.facts()
        good = all(dependency["status"] != "error" for dependency in found.values())
        status = "ready" if good else "unavailable"
        content = {"service": name, "status": status, "live": True, "dependencies": found}
        return json_response(content, 200 if good else 503)

    @app.get(
        "/health/live",
        tags=["operations"],
        summary="Is the process alive?",
        openapi_extra=requires(PUBLIC),
        responses=problems(Live),
    )
    async def live() -> Response:
        return json_response({"service": name, "live": True})

    away = {**answer(Health, Health.away), "description": "Not ready; the body says which dependency is away."}
    for path in ("/health", "/health/ready"):
        app.get(
            path,
            tags=["operations"],
            summary="Is the service ready, and how is what it depends on?",
            openapi_extra=requires(PUBLIC),
            operation_id=f"ready{path.replace('/', '_')}",
            responses={**problems(Health), 503: away},
        )(ready)


class _Look:
    """Makes the checks, one round at a time: however many ask meanwhile, all get what that round finds."""

    def __init__(self, checks: Mapping[str, Check], spare: Collection[str]) -> None:
        self._checks = checks
        self._spare = spare
        self._running: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self._round: asyncio.Task[dict[str, dict[str, Any]]] | None = None

    async def facts(self) -> dict[str, dict[str, Any]]:
        """Return what is found, by dependency."""
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._all())
        return await asyncio.shield(self._round)  # whoever goes away takes nobody's answer along

    async def _all(self) -> dict[str, dict[str, Any]]:
        found = await asyncio.gather(*(self._one(dependency) for dependency in self._checks))
        for dependency, one in zip(self._checks, found, strict=True):
            if one["status"] == "error" and dependency in self._spare:
                one["status"] = "degraded"
        return dict(zip(self._checks, found, strict=True))

    async def _one(self, dependency: str) -> dict[str, Any]:
        # A check may be in a thread, which cannot be cancelled. One that still hangs from an earlier round is waited
        # for again: begun anew at each look, they would take all threads that there are.
        running = self._running.get(dependency)
        if running is None or running.done():
            running = self._running[dependency] = asyncio.create_task(_checked(dependency, self._checks[dependency]))
        done, _ = await asyncio.wait({running}, timeout=CHECK_SECONDS)
        if done:
            return running.result()
        log.warning("a dependency does not answer", extra={"dependency": dependency, "seconds": CHECK_SECONDS})
        detail = f"It does not answer within {CHECK_SECONDS:g} s."
        return {"status": "error", "milliseconds": CHECK_SECONDS * 1000, "detail": detail}


async def _checked(dependency: str, check: Check) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        facts: Mapping[str, Any] = await check()
        status = "ok"
    except PunctualError as error:
        facts, status = {"detail": str(error)}, "error"
    except Exception as error:  # the others are told of all the same; what it says in full is for the log alone
        log.exception("a check failed", extra={"dependency": dependency})
        facts, status = {"detail": f"Its check failed: {type(error).__name__}. The log says more."}, "error"
    return {"status": status, "milliseconds": round((time.perf_counter() - start) * 1000, 2), **facts}
