"""A client of ours on a connection that is cut, slowed, garbled, or refused."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from core.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServiceUnavailable,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from core.http import HttpClient
from core.logs import correlation_id
from tests.conftest import free_port
from tests.core.wire import Act, Wire, answer, cut, hang, hang_up, problem, raw, says

IMPATIENT = httpx.Timeout(0.3, connect=0.3)


def client(wire: Wire, **options: object) -> HttpClient:
    return HttpClient(wire.url, "data", timeout=IMPATIENT, **options)  # type: ignore[arg-type]


def test_a_good_answer_is_read_and_the_key_and_correlation_id_are_sent():
    token = correlation_id.set("the-request-1")
    with Wire(says({"a": 1})) as wire, client(wire, key="pk_secret") as http:
        assert http.call("GET", "/x").json() == {"a": 1}
    correlation_id.reset(token)
    head = wire.requests[0].lower()
    assert b"authorization: bearer pk_secret" in head
    assert b"x-request-id: the-request-1" in head


@pytest.mark.parametrize(
    "act",
    [
        hang_up,
        cut({"a": "b" * 100}, after=10),  # within the head
        cut({"a": "b" * 100}, after=120),  # within the body
        raw(b"\x16\x03\x01\x02\x00\x01\x00 not http at all\r\n\r\n"),
        problem(503, "Redis is away."),
        problem(502, "no upstream"),
    ],
    ids=["hung up", "head cut", "body cut", "garbled", "503", "502"],
)
def test_a_read_is_tried_again_until_the_connection_is_good(act: Act):
    with Wire(act, act, says({"good": True})) as wire, client(wire) as http:
        assert http.call("GET", "/x").json() == {"good": True}
    assert len(wire.requests) == 3


@pytest.mark.parametrize("act", [hang_up, cut({"a": 1}, after=20), problem(503, "away")])
def test_what_changes_something_is_sent_once_unless_repeating_it_is_safe(act: Act):
    with Wire(act, says({"good": True})) as wire, client(wire) as http:
        with pytest.raises(ServiceUnavailable, match="data service"):
            http.call("POST", "/x", json={})
        assert len(wire.requests) == 1
        assert http.call("POST", "/x", json={}, retry=True).json() == {"good": True}


def test_a_slow_service_is_given_up_in_time():
    with Wire(says({})) as wire, client(wire) as http:
        wire.acts = [hang(wire.released)]
        start = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="timed out"):
            http.call("POST", "/x")
        assert time.monotonic() - start < 3


def test_a_body_that_trickles_is_given_up_when_it_stops():
    def trickle(peer, _):
        peer.sendall(answer({"a": "b" * 1000})[:200])
        released.wait(30)

    released = threading.Event()
    with Wire(trickle) as wire, client(wire) as http:
        with pytest.raises(ServiceUnavailable):
            http.call("POST", "/x")
        released.set()


def test_a_body_that_drips_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("core.http._LONGEST_SECONDS", 0.5)

    def drip(peer, _):
        for byte in answer({"a": "b" * 1000}):
            peer.sendall(bytes((byte,)))
            if over.wait(0.01):
                return

    over = threading.Event()
    with Wire(drip) as wire, client(wire) as http:
        with pytest.raises(ServiceUnavailable, match="not whole after"):
            http.call("POST", "/x")
        over.set()


def test_nobody_is_sent_elsewhere():
    with Wire(says({}, "302 Found", "location: http://127.0.0.1:1/\r\n")) as wire, client(wire) as http:
        with pytest.raises(ServiceUnavailable, match="302"):
            http.call("POST", "/x")
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Unauthenticated), (403, Forbidden), (404, NotFound), (409, Conflict), (422, InvalidRequest)],
)
def test_a_refusal_is_raised_in_the_service_s_words_and_not_repeated(status: int, kind: type[Exception]):
    with Wire(problem(status, "Because of x.", errors=[{"entity": 2}])) as wire, client(wire) as http:
        with pytest.raises(kind, match="Because of x") as found:
            http.call("GET", "/x")
    assert found.value.context["errors"] == [{"entity": 2}]
    assert len(wire.requests) == 1


def test_a_short_wait_that_is_asked_for_is_waited():
    refused = problem(429, "Too many.", "retry-after: 1\r\n")
    with Wire(refused, says({"good": True})) as wire, client(wire) as http:
        start = time.monotonic()
        assert http.call("GET", "/x").json() == {"good": True}
        assert time.monotonic() - start >= 1


def test_a_long_wait_is_the_caller_s_business():
    with Wire(problem(429, "Too many.", "retry-after: 50\r\n")) as wire, client(wire) as http:
        with pytest.raises(TooManyRequests) as found:
            http.call("GET", "/x")
    assert found.value.context["retry_after"] == 50
    assert len(wire.requests) == 1


def test_a_proxy_s_page_is_no_answer():
    with Wire(says(b"<html>welcome</html>")) as wire, client(wire) as http:
        with pytest.raises(ServiceUnavailable, match="no JSON"):
            http.call("GET", "/x").json()


def test_an_answer_without_an_end_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("core.http._MOST_BYTES", 1000)
    with Wire(says({"a": "b" * 5000})) as wire, client(wire) as http:
        with pytest.raises(ServiceUnavailable, match="longer than 1000"):
            http.call("POST", "/x")


def test_the_breaker_opens_after_failures_in_a_row_and_closes_when_the_service_is_back(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("core.http._OPEN_SECONDS", 0.5)
    with Wire(problem(503, "away")) as wire, client(wire) as http:
        for _ in range(5):
            with pytest.raises(ServiceUnavailable, match="away"):
                http.call("POST", "/x")
        with pytest.raises(ServiceUnavailable, match="5 times in a row"):
            http.call("POST", "/x")
        assert len(wire.requests) == 5, "an open breaker asks nobody"
        wire.acts = [says({"good": True})]
        deadline = time.monotonic() + 5
        while True:
            try:
                answered = http.call("POST", "/x")
                break
            except ServiceUnavailable:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert answered.json() == {"good": True}


def test_what_one_client_found_out_the_next_one_knows():
    with Wire(problem(503, "away")) as wire:
        for _ in range(5):
            with client(wire) as http, pytest.raises(ServiceUnavailable, match="away"):
                http.call("POST", "/x")
        with client(wire) as http, pytest.raises(ServiceUnavailable, match="5 times in a row"):
            http.call("POST", "/x")
        assert len(wire.requests) == 5


def test_a_route_s_own_503_is_an_answer_and_shuts_off_nothing_else():
    away = {"type": "urn:punctual:problem:service-unavailable", "title": "MLflow is away"}
    refused = problem(503, "MLflow at http://mlflow fails.", **away)
    with Wire(refused) as wire, client(wire) as http:
        for _ in range(10):
            with pytest.raises(ServiceUnavailable, match="MLflow at http://mlflow fails") as found:
                http.call("POST", "/models")
        assert found.value.message == "MLflow at http://mlflow fails."
        assert found.value.problem()["title"] == "MLflow is away"
        wire.acts = [refused, refused, says({"good": True})]
        assert http.call("GET", "/models").json() == {"good": True}, "a read is tried again all the same"
        wire.acts = [says({"jobs": []})]
        assert http.call("POST", "/jobs").json() == {"jobs": []}
    assert len(wire.requests) == 14


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_s_answer_for_a_service_that_is_gone_opens_the_breaker(status: int):
    with Wire(says(b"<html>nobody there</html>", f"{status} No")) as wire, client(wire) as http:
        for _ in range(5):
            with pytest.raises(Unavailable, match="without saying why"):
                http.call("POST", "/x")
        with pytest.raises(ServiceUnavailable, match="5 times in a row"):
            http.call("POST", "/x")
    assert len(wire.requests) == 5


def test_a_client_s_own_mistakes_do_not_open_the_breaker():
    with Wire(problem(404, "nothing")) as wire, client(wire) as http:
        for _ in range(10):
            with pytest.raises(NotFound):
                http.call("GET", "/x")
    assert len(wire.requests) == 10


def test_nobody_listening_says_where():
    port = free_port()
    with HttpClient(f"http://127.0.0.1:{port}", "training", timeout=IMPATIENT) as http:
        with pytest.raises(ServiceUnavailable, match=f"training service at http://127.0.0.1:{port}"):
            http.call("POST", "/x")


def test_one_client_shows_the_keys_of_several_callers():
    with Wire(says({})) as wire, HttpClient(wire.url, "tiny", key="pk_own") as client:
        for one in (client, client.showing("of_ada"), client.showing("of_bo"), client):
            one.call("GET", "/")
    keys = [next(line for line in r.split(b"\r\n") if line.startswith(b"authorization")) for r in wire.requests]
    assert keys == [b"authorization: Bearer " + k for k in (b"pk_own", b"of_ada", b"of_bo", b"pk_own")]
