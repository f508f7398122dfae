"""Every route of every service, found in its own API reference, as an attacker would try it.

A route that is added later is tried without anybody having to think of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import pytest

from tests.cli.conftest import ROOT
from tests.services.conftest import SERVICES, Machine

pytestmark = pytest.mark.slow

OPEN = {"/health", "/health/live", "/health/ready"}
OPEN |= {f"/auth/{name}" for name in ("login", "refresh", "forgot", "reset", "oidc")}
SCOPES = ("predict", "read", "data", "train", "admin")
# What starts a job without being told more: who may is not tried, who may not is.
STARTS = re.compile(r"/(run|rollback|train|import|validate|apply|preprocess|materialize|dataset)$")
# What a key can do that is not an administrator's: nothing else may change anything.
CHANGES = {
    "predict": {
        ("prediction", "POST", path)
        for path in ("/predict", "/predict/batch", "/jobs/{job_id}/cancel", "/jobs/{job_id}/retry")
    },
    "read": set(),
}


def filled(path: str, value: str = "x") -> str:
    return re.sub(r"\{[^}]*\}", value, path)


def test_the_references_are_there(machine: Machine):
    assert len(list(machine.operations())) > 30
    for service in SERVICES:
        assert machine.call(service, "GET", "/docs", None).status_code == 200


def test_nothing_but_health_and_log_in_is_open(machine: Machine):
    for _, _, path, operation in machine.operations():
        assert (operation["security"] == []) == (path in OPEN), path


@pytest.mark.parametrize("version", ["", "/v1"])
def test_no_route_answers_without_a_good_key(either: Machine, version: str):
    soon = timedelta(microseconds=1)
    expired = either.keys.accounts.keys.create("expired", SCOPES, owner="tests", lifetime=soon)[0]
    bad: list[dict[str, str]] = [
        {},
        {"authorization": f"Bearer {expired}"},
        {"authorization": f"Bearer {either.keys.revoked}"},
        {"authorization": f"Bearer {either.keys['admin'][:-1]}"},
        {"authorization": "Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ."},
        {"authorization": f"Basic {either.keys['admin']}"},
        {"x-api-key": "pk_000000000000_" + "A" * 43},
    ]
    for service, method, path, _ in either.operations():
        if path in OPEN:
            continue
        for headers in bad:
            answer = either.call(service, method, version + filled(path), None, headers=headers)
            assert answer.status_code == 401, f"{method} {path} with {headers}: {answer.status_code} {answer.text}"


def test_a_key_opens_its_own_routes_and_no_others(either: Machine):
    for service, method, path, operation in either.operations():
        if path in OPEN:
            continue
        wanted = {*operation["x-required-scopes"], "admin"}
        for scope in SCOPES:
            if scope in wanted and method != "GET" and STARTS.search(path):
                continue
            status = either.call(service, method, filled(path), scope).status_code
            if scope in wanted:
                assert status not in (401, 403, 500), f"{scope}: {method} {path}: {status}"
            else:
                assert status == 403, f"{scope}: {method} {path}: {status}"


def test_no_client_can_change_anything_but_its_own_predictions(either: Machine):
    for service, method, path, operation in either.operations():
        if method == "GET" or path in OPEN:
            continue
        for scope, allowed in CHANGES.items():
            if scope in operation["x-required-scopes"]:
                assert (service, method, path) in allowed, f"a {scope} key may {method} {path}"
            else:
                assert either.call(service, method, filled(path), scope).status_code == 403


def test_bodies_that_are_too_large_are_refused_everywhere(machine: Machine):
    for service, method, path, operation in machine.operations():
        if method in ("GET", "DELETE"):
            continue
        limit = operation.get("x-max-body-bytes", 1_000_000)
        if limit > 5_000_000:
            continue
        answer = machine.call(service, method, filled(path), "admin", content=b"[" * (limit + 1))
        assert answer.status_code in (404, 413, 422), f"{method} {path}: {answer.status_code}"
        if "requestBody" in operation:
            assert answer.status_code == 413, f"{method} {path}: {answer.status_code}"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"entities":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"\xff\xfe\x00\x01",
        b'{"entities": [{"loan_id": 1e400}]}',
        b'{"entities": [{"loan_id": "\\ud800"}]}',
        b"null",
        b"",
    ],
    ids=["open lists", "deep list", "deep object", "no text", "huge number", "half a letter", "null", "empty"],
)
def test_malicious_bodies_are_a_client_s_error(either: Machine, body: bytes):
    for service, method, path, operation in either.operations():
        if "requestBody" not in operation:
            continue
        headers = {"content-type": "application/json"}
        if STARTS.search(path) and body in (b"", b"null"):
            continue  # an empty body is a wish without details there
        answer = either.call(service, method, filled(path), "admin", content=body, headers=headers)
        assert 400 <= answer.status_code < 500, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "value",
    [
        "../../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "....//etc/passwd",
        "a\x00b",
        "é" * 300,
        "'; DROP TABLE users; --",
        "a" * 5000,
    ],
)
def test_ids_that_are_paths_or_sql_find_nothing(either: Machine, value: str):
    for service, method, path, _ in either.operations():
        if "{" not in path:
            continue
        answer = either.call(service, method, filled(path, quote(value, safe="")), "admin")
        assert answer.status_code in (400, 404, 405, 409, 414, 422), (
            f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        )
        assert "root:" not in answer.text


def test_sql_in_filters_is_text(either: Machine):
    hostile = "x' OR '1'='1"
    assert either.call("data", "GET", f"/audit?actor={quote(hostile)}").json()["records"] == []
    for name in ("table", "layer", "columns", "where", "sort"):
        values: dict[str, Any] = {"table": "payments", "layer": "raw", name: f'payments"; DROP TABLE x; -- {hostile}'}
        answer = either.call("data", "GET", "/data/preview", params=values)
        assert answer.status_code in (404, 422), answer.text
    for path, count in (("preview", "total"), ("profile", "rows")):
        values = {"table": "loans", "where": f"region:=:{hostile}"}
        assert either.call("data", "GET", f"/data/{path}", params=values).json()[count] == 0
    assert either.call("data", "GET", "/users").status_code == 200


def test_a_key_revoked_at_one_service_is_refused_by_all_within_a_second(either: Machine):
    made = either.call("data", "POST", "/keys", json={"name": "short-lived", "scopes": ["read"]}).json()
    soon(lambda: statuses(either, made["key"]) == {200})
    assert either.call("data", "DELETE", f"/keys/{made['id']}").status_code == 200
    soon(lambda: statuses(either, made["key"]) == {401})


def statuses(machine: Machine, key: str) -> set[int]:
    """Return what the services answer who shows a key or a token."""
    return {machine.call(service, "GET", "/metrics", key).status_code for service in SERVICES}


def soon(condition: Callable[[], bool]) -> None:
    """Fail unless a condition holds within a second, and the time that it takes to ask."""
    deadline = time.monotonic() + 1.5
    while not condition():
        assert time.monotonic() < deadline


def test_a_token_that_was_forged_or_is_shown_a_second_time_opens_nothing(either: Machine):
    added = either.call("data", "POST", "/users", json={"name": "mo", "role": "user"}).json()
    asked = {"user": "mo", "password": added["password"]}
    token = either.call("data", "POST", "/auth/login", None, json=asked).json()["token"]
    soon(lambda: statuses(either, token) == {403})  # known, and the password must be changed first
    claims = jwt.decode(token, options={"verify_signature": False})
    raised = {**claims, "sub": "admin", "role": "admin", "chg": False}
    other = jwt.encode(raised, "a secret of somebody else's, long enough", algorithm="HS256")
    head, body, signature = token.split(".")
    forged = [
        other,
        jwt.encode(raised, None, algorithm="none"),
        f"{head}.{other.split('.')[1]}.{signature}",
        f"{jwt.encode(claims, None, algorithm='none').split('.')[0]}.{body}.{signature}",
        f"{head}.{body}.",
    ]
    for one in forged:
        assert statuses(either, one) == {401}, one
    assert statuses(either, token) == {403}
    newer = either.call("data", "POST", "/auth/refresh", None, json={"token": token}).json()["token"]
    soon(lambda: statuses(either, newer) == {403})
    soon(lambda: statuses(either, token) == {401})
    # Whoever shows the old one again has taken it from somebody: the session of both is over.
    assert either.call("data", "POST", "/auth/refresh", None, json={"token": token}).status_code == 401
    soon(lambda: statuses(either, newer) == {401})


def test_guesses_at_a_password_are_slowed_down_and_its_owner_is_not_kept_out(either: Machine):
    password = either.call("data", "POST", "/users", json={"name": "lou"}).json()["password"]

    def log_in(tried: str, address: str) -> int:
        asked = {"user": "lou", "password": tried}
        headers = {"x-forwarded-for": address}
        return either.call("data", "POST", "/auth/login", None, json=asked, headers=headers).status_code

    def looked_at() -> int:
        found = either.call("data", "GET", "/audit", params={"actor": "lou", "action": "log in"}).json()["records"]
        return sum(record["outcome"] == "refused" for record in found)

    assert log_in(password, "10.0.0.1") == 200  # known there from now on
    sent, deadline = 0, time.monotonic() + 60
    while looked_at() < 8:  # five are free; then one waits for 1, 2 and 4 seconds
        assert log_in("not that one, sorry", "10.0.0.2") == 401
        sent += 1
        assert time.monotonic() < deadline
    assert log_in(password, "10.0.0.2") == 401  # for eight seconds the right one does not help
    assert sent > looked_at() == 8
    assert log_in(password, "10.0.0.1") == 200


def test_a_person_logs_in_does_what_the_role_allows_and_is_gone_after_log_out(either: Machine):
    added = either.call("data", "POST", "/users", json={"name": "bo", "role": "user"}).json()

    def log_in(password: str) -> str:
        answer = either.call("data", "POST", "/auth/login", None, json={"user": "bo", "password": password})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    token = log_in(added["password"])
    assert "Change your password" in either.call("data", "GET", "/data/versions", token).json()["detail"]
    new = {"old": added["password"], "new": "a long and winding road"}
    assert either.call("data", "POST", "/auth/password", token, json=new).status_code == 200
    token = log_in(new["new"])
    assert either.call("data", "GET", "/data/versions", token).status_code == 200
    assert either.call("data", "POST", "/data/import", token, json={}).status_code == 403
    assert either.call("data", "POST", "/auth/logout", token).status_code == 200
    soon(lambda: statuses(either, token) == {401})
    wrong = either.call("data", "POST", "/auth/login", None, json={"user": "bo", "password": "not that one, sorry"})
    nobody = either.call(
        "data", "POST", "/auth/login", None, json={"user": "nobody", "password": "not that one, sorry"}
    )
    assert wrong.json()["detail"] == nobody.json()["detail"]
    records = either.call("data", "GET", "/audit").json()["records"]
    assert {"POST /users", "log in"} <= {r["action"] for r in records}
    assert added["password"] not in str(records)


def test_the_wire_itself(machine: Machine):
    import socket

    for service in SERVICES:
        port = int(machine.url(service).rsplit(":", 1)[1])
        for sent in (
            b"\x16\x03\x01\x00\xa5rubbish\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 200_000 + b"\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
                try:
                    peer.sendall(sent)
                    answer = peer.recv(4096)
                except ConnectionError:
                    answer = b""
            assert not answer.startswith(b"HTTP/1.1 2")
        assert machine.call(service, "GET", "/health", None).status_code == httpx.codes.OK


def test_the_api_page_lists_every_route_with_its_scopes(machine: Machine):
    page = (ROOT / "docs/api.md").read_text()
    sections = {part.split(" ")[0].lower(): part for part in page.split("\n## ")}
    for service, method, path, operation in machine.operations():
        lines = (sections[service] + sections["all"]).splitlines()
        row = next((line for line in lines if f"`{method} {path}`" in line), None)
        assert row, f"docs/api.md does not list {method} {path}"
        scopes = {*operation["x-required-scopes"]} - {"public", "self"}
        told = set(re.findall(r"[a-z]+", row.split("|")[2]))
        assert scopes <= told or "session" in told, f"docs/api.md: {method} {path} needs {scopes}"
