"""What every service owes its clients: problem details, correlation ids, limits, safe headers, honest health."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel

from core.errors import InvalidRequest, NoData, StoreUnavailable
from core.logs import correlation_id
from core.repo import FeatureRepo
from core.service import PUBLIC, Check, create_app, harden, json_response, principal, requires
from core.service.harden import Harden
from core.settings import Settings
from tests.asgi import Api, chunks, problem
from tests.core.auth.conftest import until
from tests.core.keys import Keyring
from tests.core.wire import Wire, hang, says

LIMIT = 2048


class Item(BaseModel):
    """What one of the routes takes."""

    size: int
    name: str


class Life:
    """Switches and marks of the app under test."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.worked = threading.Event()
        self.away = False
        self.looks = self.looking = self.at_once = 0


@pytest.fixture
def life() -> Life:
    return Life()


@pytest.fixture
def service(life: Life, repo: FeatureRepo) -> Iterator[Api]:
    with Api(make_service(life, repo)) as api:
        yield api


def make_service(life: Life, repo: FeatureRepo, checks: Mapping[str, Check] | None = None, **settings: Any) -> Harden:
    """Return a service with a route for everything that may go right or wrong."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        life.events.append("up")
        yield
        life.events.append("down")

    async def store() -> dict[str, Any]:
        life.looks, life.looking = life.looks + 1, life.looking + 1
        life.at_once = max(life.at_once, life.looking)
        await asyncio.sleep(0.01)
        life.looking -= 1
        if life.away:
            raise StoreUnavailable("Redis does not answer.", hint="Start it.")
        return {"address": "here"}

    async def model() -> dict[str, Any]:
        return {"version": "3"}

    app = create_app(
        "test",
        name="test",
        lifespan=lifespan,
        checks={"store": store, "model": model, **(checks or {})},
        repo=repo,
        settings=Settings(max_body_bytes=LIMIT, **settings),
    )

    @app.get("/boom", openapi_extra=requires(PUBLIC))
    async def boom() -> None:
        raise RuntimeError("the password is hunter2")

    @app.get("/refused", openapi_extra=requires(PUBLIC))
    async def refused() -> None:
        raise InvalidRequest("Entity 3 is wrong.", hint="Mend it.", entity=3)

    @app.get("/unready", openapi_extra=requires(PUBLIC))
    async def unready() -> None:
        raise NoData("Nothing was trained.", hint="Run: punctual train")

    @app.get("/away", openapi_extra=requires(PUBLIC))
    async def away() -> None:
        raise StoreUnavailable("Redis does not answer.")

    @app.post("/items", openapi_extra=requires(PUBLIC))
    async def items(item: Item) -> dict[str, int]:
        return {"size": item.size}

    @app.post("/echo", openapi_extra=requires(PUBLIC))
    async def echo(request: Request) -> Any:
        return json_response({"bytes": len(await request.body())})

    @app.get("/who", openapi_extra=requires(PUBLIC))
    async def who() -> Any:
        await asyncio.sleep(0)
        logging.getLogger("punctual.test").info("asked")
        return json_response({"id": correlation_id.get()})

    @app.get("/mine", openapi_extra=requires("data", "read"))
    async def mine(request: Request) -> Any:
        return json_response({"name": principal(request).name})

    @app.post("/change/{what}", openapi_extra=requires("data"))
    async def change(what: str) -> Any:
        if what == "wrong":
            raise InvalidRequest("No.")
        return json_response({"changed": what})

    @app.get("/slow", openapi_extra=requires(PUBLIC))
    async def slow() -> Any:
        await asyncio.sleep(30)

    @app.post("/work", openapi_extra=requires("data"))
    async def work() -> Any:
        def finish() -> None:
            time.sleep(1)
            life.worked.set()

        await asyncio.to_thread(finish)

    async def direct(request: Request) -> Any:
        return json_response({"bytes": len(await request.body())})

    app.post("/direct", openapi_extra=requires("predict"))(direct)
    return harden(app, {("POST", "/direct"): ("predict", direct)})


def test_the_lifespan_runs_once(life: Life, repo: FeatureRepo) -> None:
    with Api(make_service(life, repo)) as service:
        service.get("/who")
        service.get("/boom")
        assert life.events == ["up"]
    assert life.events == ["up", "down"]


def test_our_errors_become_problem_details(service: Api) -> None:
    members = problem(service.get("/refused"), 422)
    assert members["type"] == "urn:punctual:problem:invalid-request"
    assert members["detail"] == "Entity 3 is wrong. Mend it."
    assert members["entity"] == 3
    assert members["correlation_id"]


def test_what_is_away_may_be_asked_again(service: Api) -> None:
    answer = service.get("/away")
    problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1


def test_an_expected_error_of_ours_is_a_500_without_a_trace(service: Api) -> None:
    assert "punctual train" in problem(service.get("/unready"), 500)["detail"]


def test_a_bug_is_told_to_the_log_and_not_to_the_client(service: Api, caplog: pytest.LogCaptureFixture) -> None:
    answer = service.get("/boom", headers={"x-request-id": "find-me-in-the-log"})
    members = problem(answer, 500)
    assert "hunter2" not in answer.text
    assert members["correlation_id"] == "find-me-in-the-log"
    traces = [r for r in caplog.records if r.exc_info]
    assert len(traces) == 1
    assert "hunter2" in str(traces[0].exc_info)


def test_a_wrong_field_is_named_in_words(service: Api) -> None:
    members = problem(service.post("/items", json={"size": "big"}), 422)
    assert {e["field"] for e in members["errors"]} == {"body.size", "body.name"}
    assert "size" in members["detail"]
    assert "integer" in members["detail"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/refused", 405)])
def test_wrong_paths_and_methods(service: Api, method: str, path: str, status: int) -> None:
    answer = service.request(method, path)
    assert path in problem(answer, status)["detail"]
    if status == 405:
        assert answer.headers["allow"] == "GET"


def test_a_body_at_the_limit_passes_and_one_byte_more_does_not(service: Api) -> None:
    assert service.post("/echo", content=b"x" * LIMIT).json() == {"bytes": LIMIT}
    members = problem(service.post("/echo", content=b"x" * (LIMIT + 1)), 413)
    assert str(LIMIT) in members["detail"]


@pytest.mark.parametrize("content", [b"x" * (LIMIT + 1), [b"x" * LIMIT, b"x"]], ids=["announced", "unannounced"])
def test_the_limit_holds_where_the_framework_is_passed_by(keys: Keyring, service: Api, content: Any) -> None:
    service.show(keys["predict"])
    sent = content if isinstance(content, bytes) else chunks(*content)
    assert str(LIMIT) in problem(service.post("/direct", content=sent), 413)["detail"]
    assert service.post("/direct", content=b"ab").json() == {"bytes": 2}


def test_a_body_without_an_announced_length_is_cut_off_while_it_is_read(service: Api) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 1000:
            sent += 1
            yield b"x" * LIMIT

    problem(service.post("/echo", content=endless()), 413)
    assert service.post("/echo", content=chunks(b"ab", b"", b"c")).json() == {"bytes": 3}


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999", "x"])
def test_a_lie_about_the_length_is_no_way_in(service: Api, length: str) -> None:
    answer = service.post("/echo", content=chunks(b"x" * (LIMIT + 1)), headers={"content-length": length})
    problem(answer, 413)


def test_a_client_that_goes_away_is_no_bug(service: Api, caplog: pytest.LogCaptureFixture) -> None:
    parts = iter(({"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.disconnect"}))

    async def receive() -> dict[str, Any]:
        return next(parts)

    async def send(message: dict[str, Any]) -> None:
        pass

    host = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": "/echo", "headers": host, "query_string": b""}
    service.run(service.app(scope, receive, send))
    assert not [r for r in caplog.records if r.exc_info]


def test_a_given_correlation_id_is_kept(service: Api) -> None:
    answer = service.get("/who", headers={"x-request-id": "abc-123_XYZ.9"})
    assert answer.headers["x-request-id"] == "abc-123_XYZ.9"
    assert answer.json() == {"id": "abc-123_XYZ.9"}


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "with space in it", "<script>alert", "a\ttab-here", "é" * 9])
def test_a_correlation_id_that_could_do_harm_is_replaced(service: Api, given: str) -> None:
    answer = service.get("/who", headers={"x-request-id": given.encode()})
    made = answer.headers["x-request-id"]
    assert made != given
    assert made.isalnum()
    assert answer.json() == {"id": made}


def test_correlation_ids_of_requests_at_once_do_not_mix(service: Api) -> None:
    given = [f"request-{i:04}" for i in range(50)]
    answers = service.gather([("GET", "/who", {"headers": {"x-request-id": i}}) for i in given])
    assert [a.json()["id"] for a in answers] == given
    made = [a.headers["x-request-id"] for a in service.gather([("GET", "/who", {})] * 50)]
    assert len(set(made)) == 50


@pytest.mark.parametrize("path", ["/who", "/nowhere", "/boom", "/refused"])
def test_every_answer_carries_safe_headers(service: Api, path: str) -> None:
    headers = service.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert headers.get_list("x-request-id") == [headers["x-request-id"]]


def test_one_line_in_the_log_a_request(service: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="punctual.service"):
        service.get("/who")
        service.get("/nowhere/of/anna@example.org")
        service.get("/health")
    lines = [r for r in caplog.records if r.getMessage() == "request"]
    assert [(r.route, r.status, r.method) for r in lines] == [("/who", 200, "GET"), ("unmatched", 404, "GET")]  # type: ignore[attr-defined]
    assert all(r.milliseconds >= 0 for r in lines)  # type: ignore[attr-defined]


def test_healthy_with_everything_it_depends_on_named(service: Api) -> None:
    answer = service.get("/health")
    assert answer.status_code == httpx.codes.OK
    found = answer.json()["dependencies"]
    assert {name: d["status"] for name, d in found.items()} == {"store": "ok", "model": "ok"}
    assert found["store"]["address"] == "here"
    assert found["model"]["version"] == "3"
    assert all(d["milliseconds"] >= 0 for d in found.values())


def test_however_many_ask_each_check_is_made_once_at_a_time(service: Api, life: Life) -> None:
    answers = service.gather([("GET", "/health", {})] * 50)
    assert {answer.status_code for answer in answers} == {200}
    assert 1 <= life.looks < 10
    assert life.at_once == 1


def test_alive_but_not_ready_while_something_is_away(service: Api, life: Life) -> None:
    life.away = True
    answer = service.get("/health")
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    health = answer.json()
    assert health["live"] is True
    assert health["dependencies"]["store"]["status"] == "error"
    assert "Redis does not answer" in health["dependencies"]["store"]["detail"]
    assert health["dependencies"]["model"]["status"] == "ok"
    life.away = False
    assert service.get("/health").status_code == httpx.codes.OK


def test_what_hangs_is_named_in_time_and_asked_once(life: Life, repo: FeatureRepo) -> None:
    asked = []

    async def silent() -> dict[str, Any]:
        asked.append(1)
        await asyncio.to_thread(httpx.get, wire.url, timeout=20)
        return {}

    with Wire(says({})) as wire, Api(make_service(life, repo, {"mlflow": silent, "slow": silent})) as service:
        wire.acts = [hang(wire.released)]
        for _ in range(2):
            start = time.monotonic()
            answer = service.get("/health")
            assert time.monotonic() - start < 2.5  # at once, and not one after the other
            assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
            found = answer.json()["dependencies"]
            assert {name for name, one in found.items() if one["status"] == "error"} == {"mlflow", "slow"}
            assert "does not answer within" in found["mlflow"]["detail"]
        assert len(asked) == 2, "a thread that hangs is joined by more"
        wire.acts = [says({})]
        wire.released.set()
        until(lambda: service.get("/health").status_code == httpx.codes.OK, 10)


def test_a_check_that_breaks_is_that_dependency_s_error(
    life: Life, repo: FeatureRepo, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> dict[str, Any]:
        raise RuntimeError("the password is hunter2")

    with Api(make_service(life, repo, {"broken": broken})) as service:
        answer = service.get("/health")
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    found = answer.json()["dependencies"]
    assert found["broken"]["status"] == "error"
    assert "RuntimeError" in found["broken"]["detail"]
    assert "hunter2" not in answer.text
    assert found["store"]["status"] == found["model"]["status"] == "ok"
    assert any(record.exc_info for record in caplog.records if record.getMessage() == "a check failed")
