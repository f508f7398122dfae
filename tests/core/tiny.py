"""The smallest service, as a process: ``python -m tests.core.tiny <workers>`` with the settings of the environment."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse

from core.repo import FeatureRepo
from core.server import run
from core.service import PUBLIC, create_app, harden, json_response, requires
from core.settings import Settings, get_settings

LARGE = 50_000_000


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield


def build(repo: FeatureRepo, settings: Settings) -> Any:
    app = create_app("tiny", name="tiny", lifespan=lifespan, checks={}, repo=repo, settings=settings)

    @app.get("/pid", openapi_extra=requires(PUBLIC))
    async def pid() -> Any:
        return json_response({"pid": os.getpid()})

    @app.get("/file", openapi_extra=requires(PUBLIC))
    async def file() -> Any:
        return FileResponse(repo.layout.repo / "large")

    @app.post("/slow", openapi_extra=requires(PUBLIC, max_body_bytes=LARGE))
    async def slow(request: Request) -> Any:
        await asyncio.sleep(settings.request_timeout / 2)
        return json_response({"bytes": len(await request.body())})

    return harden(app)


if __name__ == "__main__":
    settings = get_settings()
    repo = FeatureRepo.load(settings.feature_repo)
    run("tests.core.tiny:build", repo, settings, name="tiny", setting="port", workers=int(sys.argv[1]))
