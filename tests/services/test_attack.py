"""Every route of every service, found in its own API reference, as an attacker would try it.

A route that is added later is tried without anybody having to think of it.
"""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
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
def test_no_route_answers_without_a_good_key(machine: Machine, version: str):
    soon = timedelta(microseconds=1)
    expired = machine.keys.accounts.keys.create("expired", SCOPES, owner="tests", lifetime=soon)[0]
    bad: list[dict[str, str]] = [
        {},
        {"authorization": f"Bearer {expired}"},
        {"authorization": f"Bearer {machine.keys.revoked}"},
        {"authorization": f"Bearer {machine.keys['admin'][:-1]}"},
        {"authorization": "Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ."},
        {"authorization": f"Basic {machine.keys['admin']}"},
        {"x-api-key": "pk_000000000000_" + "A" * 43},
    ]
    for service, method, path, _ in machine.operations():
        if path in OPEN:
            continue
        for headers in bad:
            answer = machine.call(service, method, version + filled(path), None, headers=headers)
            assert answer.status_code == 401, f"{method} {path} with {headers}: {answer.status_code} {answer.text}"


def test_a_key_opens_its_own_routes_and_no_others(machine: Machine):
    for service, method, path, operation in machine.operations():
        if path in OPEN:
            continue
        wanted = {*operation["x-required-scopes"], "admin"}
        for scope in SCOPES:
            if scope in wanted and method != "GET" and STARTS.search(path):
                continue
            status = machine.call(service, method, filled(path), scope).status_code
            if scope in wanted:
                assert status not in (401, 403, 500), f"{scope}: {method} {path}: {status}"
            else:
                assert status == 403, f"{scope}: {method} {path}: {status}"


def test_no_client_can_change_anything_but_its_own_predictions(machine: Machine):
    for service, method, path, operation in machine.operations():
        if method == "GET" or path in OPEN:
            continue
        for scope, allowed in CHANGES.items():
            if scope in operation["x-required-scopes"]:
                assert (service, method, path) in allowed, f"a {scope} key may {method} {path}"
            else:
                assert machine.call(service, method, filled(path), scope).status_code == 403


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
def test_malicious_bodies_are_a_client_s_error(machine: Machine, body: bytes):
    for service, method, path, operation in machine.operations():
        if "requestBody" not in operation:
            continue
        headers = {"content-type": "application/json"}
        if STARTS.search(path) and body in (b"", b"null"):
            continue  # an empty body is a wish without details there
        answer = machine.call(service, method, filled(path), "admin", content=body, headers=headers)
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
def test_ids_that_are_paths_or_sql_find_nothing(machine: Machine, value: str):
    for service, method, path, _ in machine.operations():
        if "{" not in path:
            continue
        answer = machine.call(service, method, filled(path, quote(value, safe="")), "admin")
        assert answer.status_code in (400, 404, 405, 409, 414, 422), (
            f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        )
        assert "root:" not in answer.text


def test_sql_in_filters_is_text(machine: Machine):
    hostile = "x' OR '1'='1"
    assert machine.call("data", "GET", f"/audit?actor={quote(hostile)}").json()["records"] == []
    for name in ("table", "layer", "columns", "where", "sort"):
        values: dict[str, Any] = {"table": "payments", "layer": "raw", name: f'payments"; DROP TABLE x; -- {hostile}'}
        answer = machine.call("data", "GET", "/data/preview", params=values)
        assert answer.status_code in (404, 422), answer.text
    for path, count in (("preview", "total"), ("profile", "rows")):
        values = {"table": "loans", "where": f"region:=:{hostile}"}
        assert machine.call("data", "GET", f"/data/{path}", params=values).json()[count] == 0
    assert machine.call("data", "GET", "/users").status_code == 200


def test_a_key_revoked_at_one_service_is_refused_by_all_within_a_second(machine: Machine):
    made = machine.call("data", "POST", "/keys", json={"name": "short-lived", "scopes": ["read"]}).json()

    def statuses() -> set[int]:
        return {machine.call(s, "GET", "/metrics", made["key"]).status_code for s in SERVICES}

    deadline = time.monotonic() + 1.5
    while statuses() != {200}:
        assert time.monotonic() < deadline
    assert machine.call("data", "DELETE", f"/keys/{made['id']}").status_code == 200
    deadline = time.monotonic() + 1.5
    while statuses() != {401}:
        assert time.monotonic() < deadline


def test_a_person_logs_in_does_what_the_role_allows_and_is_gone_after_log_out(machine: Machine):
    added = machine.call("data", "POST", "/users", json={"name": "bo", "role": "user"}).json()

    def log_in(password: str) -> str:
        answer = machine.call("data", "POST", "/auth/login", None, json={"user": "bo", "password": password})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    token = log_in(added["password"])
    assert "Change your password" in machine.call("data", "GET", "/data/versions", token).json()["detail"]
    new = {"old": added["password"], "new": "a long and winding road"}
    assert machine.call("data", "POST", "/auth/password", token, json=new).status_code == 200
    token = log_in(new["new"])
    assert machine.call("data", "GET", "/data/versions", token).status_code == 200
    assert machine.call("data", "POST", "/data/import", token, json={}).status_code == 403
    assert machine.call("data", "POST", "/auth/logout", token).status_code == 200
    deadline = time.monotonic() + 1.5
    while machine.call("training", "GET", "/training/models", token).status_code != 401:
        assert time.monotonic() < deadline
    wrong = machine.call("data", "POST", "/auth/login", None, json={"user": "bo", "password": "not that one, sorry"})
    nobody = machine.call(
        "data", "POST", "/auth/login", None, json={"user": "nobody", "password": "not that one, sorry"}
    )
    assert wrong.json()["detail"] == nobody.json()["detail"]
    records = machine.call("data", "GET", "/audit").json()["records"]
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
