"""Who sees what: nobody sees what another asked, whatever they send, unless their scope says so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from core.client import MonitoringClient
from core.http import HttpClient
from core.settings import Settings
from monitoring.service import build_app
from tests.asgi import Api, problem
from tests.core.auth.conftest import HERE, PASSWORD
from tests.core.keys import Keyring, keyring
from tests.monitoring.log_world import LogWorld, at

pytestmark = pytest.mark.slow

PATHS = ("/monitoring/predictions", "/monitoring/statistics")


@pytest.fixture(scope="module")
def world(log_world_folder: Any, tmp_path_factory: pytest.TempPathFactory) -> LogWorld:
    folder = tmp_path_factory.mktemp("history") / "loans"
    shutil.copytree(log_world_folder, folder)
    world = LogWorld(folder)
    world.clear()
    asked = [("anna", False), ("anna", True), ("bo", False), ("key:read", False), ("key:predict", False)]
    world.log(*(row(n, actor=actor, what_if=what_if) for n, (actor, what_if) in enumerate(asked)))
    world.log(row(9), old=True)
    return world


def row(n: int, **more: Any) -> dict[str, Any]:
    return {"prediction_id": f"{n}", "predicted_at": at(n), "served_at": at(n), "entity": {"loan_id": n}, **more}


@pytest.fixture(scope="module")
def keys(world: LogWorld) -> Keyring:
    return keyring(world.repo)


@pytest.fixture(scope="module")
def tokens(keys: Keyring) -> dict[str, str]:
    """Give everybody's key or session token."""
    accounts = keys.accounts
    for name, role in (("anna", "user"), ("bo", "user"), ("root", "admin")):
        accounts.users.add(name, role, PASSWORD, by="tests")
    sessions = {name: accounts.sessions.log_in(name, PASSWORD, HERE)["token"] for name in ("anna", "bo", "root")}
    return sessions | {f"key:{scope}": keys[scope] for scope in ("predict", "read", "data", "train", "admin")}


@pytest.fixture(scope="module")
def api(world: LogWorld, tokens: dict[str, str]) -> Iterator[Api]:
    with Api(build_app(world.repo, Settings(_env_file=None))) as api:
        yield api


@pytest.fixture
def ask(api: Api, tokens: dict[str, str]) -> Any:
    """Give a way to ask as somebody."""

    def get(who: str, path: str = PATHS[0], **params: Any) -> Any:
        return api.get(path, params=params, headers={"authorization": f"Bearer {tokens[who]}"})

    return get


def actors(answer: Any) -> list[str | None]:
    """Return whose predictions an answer tells of."""
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return sorted({one["actor"] for one in found.get("predictions", found.get("actors"))}, key=str)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("who", ["anna", "bo", "key:read", "key:predict"])
def test_one_sees_what_one_asked_oneself(ask: Any, who: str, path: str) -> None:
    assert actors(ask(who, path)) == [who]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("who", ["root", "key:data", "key:train", "key:admin"])
def test_who_may_change_data_or_models_sees_all(ask: Any, who: str, path: str) -> None:
    assert actors(ask(who, path)) == [None, "anna", "bo", "key:predict", "key:read"]


def test_all_of_it_is_told_of_each(ask: Any) -> None:
    first, second = ask("anna").json()["predictions"]
    assert (first["prediction_id"], first["what_if"], second["what_if"]) == ("1", True, False)
    assert second == {
        "prediction_id": "0",
        "predicted_at": "2024-03-01T00:00:00Z",
        "served_at": "2024-03-01T00:00:00Z",
        "entity": {"loan_id": 0},
        "class": "paid",
        "probability": 0.5,
        "model_version": "1",
        "stale": [],
        "actor": "anna",
        "what_if": False,
        "outcome": None,
    }


@pytest.mark.parametrize("actor", ["bo", "key:read", "", "ANNA", "anna ", "anna' OR '1'='1", "%", "null", "a\0b", "é"])
def test_nobody_sees_anothers_by_asking_for_them(ask: Any, actor: str) -> None:
    answer = ask("anna", actor=actor)
    assert answer.status_code in (403, 422), answer.text
    assert "prediction_id" not in answer.text
    assert actors(ask("anna", actor="anna")) == ["anna"]


@pytest.mark.parametrize(
    "sent",
    [
        {"actor": ["anna", "bo"]},
        {"actor": ["bo", "anna"]},
        {"entity": "2"},
        {"entity": "2' OR true --"},
        {"entity": '") OR true --'},
        {"class": "paid' OR actor = 'bo"},
        {"class": "$actor"},
        {"version": "1 OR true"},
        {"what_if": "false OR true"},
        {"since": "2024-03-01T00:00:00Z' OR true --"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"until": "9999-12-31T23:59:59-14:00"},
        {"limit": "500; SELECT 1"},
        {"limit": 0},
        {"limit": 501},
        {"bucket": "day') --"},
        {"bucket": "second"},
        {"principal": "bo", "owner": "bo", "user": "bo", "as": "bo"},
    ],
)
@pytest.mark.parametrize("path", [*PATHS, *(f"/v1{path}" for path in PATHS)])
def test_nobody_sees_anothers_whatever_they_send(ask: Any, path: str, sent: dict[str, Any]) -> None:
    answer = ask("anna", path, **sent)
    assert answer.status_code in (200, 403, 422), answer.text
    if answer.status_code == 200:
        assert set(actors(answer)) <= {"anna"}
        assert answer.json().get("total", 2) <= 2
    else:
        problem(answer, answer.status_code)


def test_without_a_key_nothing_is_told(api: Api, keys: Keyring) -> None:
    for path in PATHS:
        problem(api.get(path), 401)
        problem(api.get(path, headers={"authorization": f"Bearer {keys.revoked}"}), 401)


def test_who_may_see_all_can_ask_for_some(ask: Any) -> None:
    assert actors(ask("key:data", actor="bo")) == ["bo"]
    assert actors(ask("key:data", entity="3")) == ["key:read"]
    assert [one["prediction_id"] for one in ask("root", limit=2).json()["predictions"]] == ["9", "4"]
    found = ask("root", PATHS[1], what_if=False, bucket="hour", since="2024-03-01T00:00:00Z").json()
    assert (found["total"], found["what_if"], len(found["buckets"])) == (5, 0, 5)
    assert ask("root", what_if=True).json()["predictions"][0]["prediction_id"] == "1"


def test_the_client_asks_what_the_service_answers(api: Api, tokens: dict[str, str]) -> None:
    class Wire(HttpClient):
        """Sends to the app instead of over a wire."""

        def call(self, method: str, path: str, **options: Any) -> Any:
            sent = {name: value for name, value in options.items() if value is not None and name != "retry"}
            answer = api.request(method, path, headers={"authorization": f"Bearer {tokens['root']}"}, **sent)
            assert answer.status_code < 400, answer.text
            return answer

    client = MonitoringClient(Wire("http://localhost", "monitoring"))
    assert [one["prediction_id"] for one in client.predictions(what_if=True)] == ["1"]
    assert [one["actor"] for one in client.predictions(actor="bo", limit=1)] == ["bo"]
    assert client.statistics(bucket="month")["total"] == 6
