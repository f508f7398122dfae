"""Log-in, users, keys and the audit log over HTTP, as a client and as an attacker."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI

from core.auth.routes import add_auth_routes
from core.repo import FeatureRepo
from core.service import create_app, harden
from core.settings import Settings
from tests.asgi import Api, problem
from tests.core.auth.conftest import PASSWORD
from tests.core.keys import LOANS, Keyring, keyring


@pytest.fixture
def repo(tmp_path: Path) -> FeatureRepo:
    shutil.copytree(LOANS, tmp_path / "loans", ignore=shutil.ignore_patterns("data", "__pycache__"))
    return FeatureRepo.load(tmp_path / "loans")


@asynccontextmanager
async def nothing(app: FastAPI) -> AsyncIterator[None]:
    yield


def service(repo: FeatureRepo, settings: Settings) -> Api:
    app = create_app("t", name="data", lifespan=nothing, checks={}, repo=repo, settings=settings)
    add_auth_routes(app)
    return Api(harden(app))


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database=database_url, rate_limit_login="1000/minute", redis="127.0.0.1:1")


@pytest.fixture
def keys(repo: FeatureRepo, settings: Settings) -> Keyring:
    return keyring(repo, settings)


@pytest.fixture
def api(repo: FeatureRepo, settings: Settings, keys: Keyring) -> Iterator[Api]:
    keys.accounts.users.add("ada", "admin", PASSWORD, by="tests")
    with service(repo, settings) as api:
        yield api


def log_in(api: Api, user: str = "ada", password: str = PASSWORD) -> dict[str, Any]:
    answer = api.post("/auth/login", json={"user": user, "password": password})
    assert answer.status_code == 200, answer.text
    return answer.json()


def as_(token: str) -> dict[str, dict[str, str]]:
    return {"headers": {"authorization": f"Bearer {token}"}}


def test_a_person_s_way_through(api: Api):
    found = log_in(api)
    assert set(found) == {"token", "expires_at", "user", "role", "must_change"}
    token = found["token"]
    assert api.get("/auth/me", **as_(token)).json() == {"name": "ada", "kind": "session", "scopes": ["admin", "self"]}
    newer = api.post("/auth/refresh", json={"token": token}).json()["token"]
    problem(api.get("/auth/me", **as_(token)), 401)
    assert api.get("/v1/auth/me", **as_(newer)).status_code == 200
    assert api.post("/auth/logout", **as_(newer)).json() == {"ended": True}
    problem(api.get("/auth/me", **as_(newer)), 401)
    problem(api.post("/auth/refresh", json={"token": newer}), 401)


def test_a_new_user_changes_their_password_before_anything_else(api: Api):
    admin = as_(log_in(api)["token"])
    answer = api.post("/users", json={"name": "bo"}, **admin)
    assert answer.status_code == 201
    made_up = answer.json()["password"]
    token = as_(log_in(api, "bo", made_up)["token"])
    assert "password" in problem(api.get("/metrics", **token), 403)["detail"]
    for new, status in ((made_up, 422), ("short", 422), ("bo", 422)):
        problem(api.post("/auth/password", json={"old": made_up, "new": new}, **token), status)
    problem(api.post("/auth/password", json={"old": "wrong wrong wrong", "new": PASSWORD}, **token), 403)
    changed = api.post("/auth/password", json={"old": made_up, "new": PASSWORD}, **token).json()
    assert changed["must_change"] is False
    problem(api.get("/auth/me", **token), 401)
    assert api.get("/metrics", **as_(changed["token"])).status_code == 200
    problem(api.get("/users", **as_(changed["token"])), 403)


def test_users_are_managed(api: Api):
    admin = as_(log_in(api)["token"])
    api.post("/users", json={"name": "bo", "role": "user"}, **admin)
    problem(api.post("/users", json={"name": "bo"}, **admin), 409)
    assert api.request("PATCH", "/users/bo", json={"role": "admin"}, **admin).json()["role"] == "admin"
    reset = api.post("/users/bo/reset", **admin).json()
    assert log_in(api, "bo", reset["password"])["must_change"] is True
    assert [u["name"] for u in api.get("/users", **admin).json()["users"]] == ["ada", "bo"]
    assert "hash" not in api.get("/users", **admin).text
    assert api.request("DELETE", "/users/bo", **admin).json() == {"name": "bo", "removed": True}
    problem(api.request("DELETE", "/users/ada", **admin), 409)
    problem(api.request("PATCH", "/users/ada", json={"role": "user"}, **admin), 409)


def test_a_user_is_disabled_and_enabled_by_the_same_route_as_a_role(api: Api):
    admin = as_(log_in(api)["token"])
    made = api.post("/users", json={"name": "bo"}, **admin).json()
    token = as_(log_in(api, "bo", made["password"])["token"])
    key = api.post("/keys", json={"name": "theirs", "scopes": ["admin"]}, **admin).json()["key"]
    assert api.request("PATCH", "/users/bo", json={"disabled": True}, **admin).json() == {
        "name": "bo",
        "disabled": True,
    }
    assert {u["name"]: u["disabled"] for u in api.get("/users", **admin).json()["users"]} == {"ada": False, "bo": True}
    problem(api.get("/auth/me", **token), 401)
    problem(api.post("/auth/login", json={"user": "bo", "password": made["password"]}), 401)
    assert api.request("PATCH", "/users/bo", json={"disabled": False}, **admin).json()["disabled"] is False
    assert log_in(api, "bo", made["password"])["user"] == "bo"
    assert api.request("PATCH", "/users/bo", json={"role": "admin"}, **admin).status_code == 200
    for caller in (admin, as_(key)):
        assert (
            "themselves"
            in problem(api.request("PATCH", "/users/ada", json={"disabled": True}, **caller), 409)["detail"]
        )
    for body in ({}, {"role": "user", "disabled": True}, {"disabled": None}, {"disabled": "yes"}, {"name": "x"}):
        problem(api.request("PATCH", "/users/bo", json=body, **admin), 422)


def test_keys_are_managed_and_known_here_at_once(api: Api):
    admin = as_(log_in(api)["token"])
    made = api.post("/keys", json={"name": "app", "scopes": ["predict", "read"], "days": 30}, **admin)
    assert made.status_code == 201
    key, key_id = made.json()["key"], made.json()["id"]
    assert made.json()["owner"] == "ada"
    assert api.get("/auth/me", **as_(key)).json()["name"] == "key:app"
    for wrong in (True, "60", 0.5):
        problem(api.post(f"/keys/{key_id}/rotate", json={"grace_minutes": wrong}, **admin), 422)
        problem(api.post("/keys", json={"name": "app", "scopes": ["read"], "days": wrong}, **admin), 422)
    newer = api.post(f"/keys/{key_id}/rotate", json={"grace_minutes": 0}, **admin).json()["key"]
    problem(api.get("/auth/me", **as_(key)), 401)
    assert api.get("/auth/me", **as_(newer)).status_code == 200
    assert api.post(f"/keys/{key_id}/rotate", **admin).status_code == 200, "without a body: an hour"
    assert api.get("/auth/me", **as_(newer)).status_code == 200
    listed = api.get("/keys", **admin)
    for secret in (key[16:], newer[16:], "hash"):
        assert secret not in listed.text
    assert api.request("DELETE", f"/keys/{key_id}", **admin).json() == {"id": key_id, "revoked": True}
    problem(api.get("/auth/me", **as_(newer)), 401)
    problem(api.request("DELETE", f"/keys/{key_id}", **admin), 404)


def test_only_administrators_manage(api: Api, keys: Keyring):
    ours = [("GET", "/users"), ("POST", "/users"), ("GET", "/keys"), ("POST", "/keys"), ("GET", "/audit")]
    ours += [("DELETE", "/users/ada"), ("PATCH", "/users/ada"), ("POST", "/users/ada/reset")]
    ours += [("DELETE", "/keys/000000000000"), ("POST", "/keys/000000000000/rotate")]
    for method, path in ours:
        problem(api.request(method, path), 401)
        for scope in ("predict", "read", "data", "train"):
            problem(api.request(method, path, json={}, **as_(keys[scope])), 403)
    assert [u["name"] for u in keys.accounts.users.all()] == ["ada"]


def test_a_key_is_no_session(api: Api, keys: Keyring):
    problem(api.post("/auth/password", json={"old": PASSWORD, "new": "x" * 20}, **as_(keys["admin"])), 403)
    problem(api.post("/auth/refresh", json={"token": keys["admin"]}), 401)
    problem(api.post("/auth/logout", **as_(keys["read"])), 403)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user": "ada"},
        {"user": "ada", "password": ""},
        {"user": "ada", "password": "x" * 1025},
        {"user": ["ada"], "password": PASSWORD},
        {"user": "ada", "password": {"$ne": None}},
        {"user": "ada", "password": PASSWORD, "role": "admin"},
        {"user": "a" * 65, "password": PASSWORD},
    ],
)
def test_log_ins_of_another_form_are_refused_without_repeating_them(api: Api, body: dict[str, Any]):
    answer = api.post("/auth/login", json=body)
    problem(answer, 422)
    assert PASSWORD not in answer.text


def test_odd_text_in_log_ins_paths_and_filters_breaks_nothing(api: Api, keys: Keyring):
    admin = as_(keys["admin"])
    for odd in ("\x00", "a\x00b", "' OR '1'='1", "../../etc/passwd", "é", "🙂", "a\r\nset-cookie: x=1", "%s%n"):
        problem(api.post("/auth/login", json={"user": odd, "password": odd}), 401)
        assert api.get("/audit", params={"actor": odd, "action": odd}, **admin).json() == {"records": []}
        for method, path in (("DELETE", "/users/"), ("DELETE", "/keys/")):
            problem(api.request(method, path + quote(odd, safe=""), **admin), 404)
    raw = b'{"user": "\\ud800", "password": "\\ud800\\ud800"}'
    answer = api.post("/auth/login", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code in (401, 422), answer.text


def test_every_act_is_in_the_audit_log_and_no_secret_is(api: Api):
    token = log_in(api)["token"]
    admin = {"headers": {"authorization": f"Bearer {token}", "x-request-id": "this-request"}}
    password = api.post("/users", json={"name": "bo"}, **admin).json()["password"]
    api.post("/users", json={"name": "bo"}, **admin)
    key = api.post("/keys", json={"name": "app", "scopes": ["read"]}, **admin).json()["key"]
    answer = api.get("/audit", **as_(token))
    done = [(r["actor"], r["action"], r["outcome"]) for r in reversed(answer.json()["records"])]
    assert done[-7:] == [
        ("tests", "user added", "done"),
        ("ada", "log in", "done"),
        ("ada", "user added", "done"),
        ("ada", "POST /users", "done"),
        ("ada", "POST /users", "refused (409)"),
        ("ada", "key made", "done"),
        ("ada", "POST /keys", "done"),
    ]
    assert {r["correlation_id"] for r in answer.json()["records"][:5]} == {"this-request"}
    for secret in (password, key[16:], token, PASSWORD):
        assert secret not in answer.text
    page = api.get("/audit", params={"limit": 2}, **as_(token)).json()["records"]
    older = api.get("/audit", params={"limit": 2, "before": page[-1]["id"]}, **as_(token)).json()["records"]
    assert [r["id"] for r in page + older] == sorted((r["id"] for r in page + older), reverse=True)
    for wrong in ({"limit": 0}, {"before": "x"}, {"since": "2020-01-01"}, {"before": 2**70}):
        problem(api.get("/audit", params=wrong, **as_(token)), 422)


def test_guessing_from_one_address_is_limited(repo: FeatureRepo, settings: Settings, keys: Keyring):
    with service(repo, settings.model_copy(update={"rate_limit_login": "3/day"})) as api:
        answers = [api.post("/auth/login", json={"user": "x", "password": f"guess {n}"}) for n in range(6)]
    assert [a.status_code for a in answers] == [401] * 3 + [429] * 3
    assert int(answers[-1].headers["retry-after"]) > 0
