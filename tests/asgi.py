"""Speaks to an ASGI app as a server would: lifespan, one event loop, and httpx as the client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, Self

import httpx

from core.service.harden import Harden
from tests.contract import Contract

_PATIENCE = 30  # seconds after which a test that hangs fails instead


class Api:
    """An app that is started on entering and stopped on leaving; calls are blocking.

    Parameters
    ----------
    app : ASGI application
        With or without lifespan; an exception that leaves it is answered with a bare 500, as a server would. A good
        answer of a service must be what its API reference says.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://localhost",
            event_hooks={"response": [self._check] if isinstance(app, Harden) else []},
        )
        self._contract: Contract | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.run(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run(self._stop())
        finally:
            self._end()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the app's own event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    def show(self, key: str) -> None:
        """Send a key with every request from now on."""
        self._client.headers["authorization"] = f"Bearer {key}"

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.run(self._client.get(path, **options))

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.run(self._client.post(path, **options))

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.run(self._client.request(method, path, **options))

    def gather(self, requests: Iterable[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Send several requests at once."""

        async def send() -> list[httpx.Response]:
            return await asyncio.gather(*(self._client.request(m, p, **o) for m, p, o in requests))

        return self.run(send())

    def predict(self, *entities: dict[str, Any], **options: Any) -> httpx.Response:
        """Ask for predictions as a client would."""
        return self.post("/predict", json={"entities": list(entities)}, **options)

    async def _check(self, answer: httpx.Response) -> None:
        document = self.app.app.openapi()  # another one once the definitions are applied anew
        if self._contract is None or self._contract.document is not document:
            self._contract = Contract(document)
        await answer.aread()
        self._contract.check(answer)

    async def _start(self) -> None:
        self._task = asyncio.create_task(
            self.app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, self._events.get, self._said.put)
        )
        await self._exchange("startup")

    async def _stop(self) -> None:
        await self._client.aclose()
        await self._exchange("shutdown")
        await self._task

    async def _exchange(self, phase: str) -> None:
        await self._events.put({"type": f"lifespan.{phase}"})
        said = asyncio.create_task(self._said.get())
        await asyncio.wait({said, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not said.done():
            said.cancel()
            self._task.result()
            raise RuntimeError(f"the app ended during {phase} and said nothing")
        if (message := said.result())["type"].endswith("failed"):
            await self._task  # raises what went wrong, if the app tells
            raise RuntimeError(message.get("message", ""))

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """Give a body whose length the client does not announce."""
    for part in parts:
        yield part


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Check that an answer is RFC 9457 problem details that tell no secrets, and return its members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    members = answer.json()
    assert members["status"] == status
    assert isinstance(members["type"], str)
    assert members["type"]
    assert isinstance(members["title"], str)
    assert members["title"]
    assert isinstance(members["detail"], str)
    assert members["detail"]
    assert "Traceback" not in answer.text
    assert 'File "' not in answer.text
    return members
