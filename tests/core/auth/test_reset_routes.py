"""Links for new passwords over HTTP and by a real mail server, as their owner and as an attacker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.message import Message as Mail

import pytest
from aiosmtpd.controller import Controller

from core.auth.postbox import Postbox
from core.errors import ConfigError
from core.repo import FeatureRepo
from core.settings import Settings
from tests.asgi import Api, problem
from tests.conftest import free_port
from tests.core.auth.conftest import PASSWORD
from tests.core.auth.test_resets import FORGED, NEW
from tests.core.auth.test_routes import as_, log_in, repo, service  # noqa: F401 - a fixture
from tests.core.keys import Keyring, keyring
from tests.core.test_notify import Inbox


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    handler = Inbox()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield handler, controller.port
    controller.stop()


@pytest.fixture
def settings(inbox: tuple[Inbox, int]) -> Settings:
    return Settings(
        rate_limit_login="1000/minute",
        redis="127.0.0.1:1",
        notify_smtp=f"smtp://127.0.0.1:{inbox[1]}",
        notify_from="punctual@example.org",
        notify_to=["operators@example.org"],
        dashboard_url="https://punctual.example.org",
        trusted_hosts=["*"],
    )


@pytest.fixture
def keys(repo: FeatureRepo, settings: Settings) -> Keyring:  # noqa: F811
    return keyring(repo, settings)


@pytest.fixture
def api(repo: FeatureRepo, settings: Settings, keys: Keyring) -> Iterator[Api]:  # noqa: F811
    keys.accounts.users.add("ada", "admin", PASSWORD, by="tests")
    keys.accounts.users.add("bo", "user", PASSWORD, by="tests", email="bo@example.org")
    with service(repo, settings) as api:
        yield api


def mails(api: Api, inbox: tuple[Inbox, int]) -> list[Mail]:
    postbox(api).wait()
    return inbox[0].mails


def postbox(api: Api) -> Postbox:
    found: Postbox = api.app.app.state.postbox
    return found


def words(mail: Mail) -> str:
    payload = mail.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


def token_in(mail: Mail) -> str:
    return words(mail).partition("/reset#")[2].split()[0]


def test_a_person_who_forgot_gets_a_mail_and_in_again(api: Api, inbox: tuple[Inbox, int]):
    old = log_in(api, "bo")["token"]
    evil = {"host": "evil.example", "x-forwarded-host": "evil.example", "origin": "https://evil.example"}
    answer = api.post("/auth/forgot", json={"user": "bo"}, headers=evil)
    assert (answer.status_code, answer.json()) == (202, {"asked": True})
    (mail,) = mails(api, inbox)
    assert (mail["To"], mail["From"]) == ("bo@example.org", "punctual@example.org")
    assert "https://punctual.example.org/reset#pr_" in words(mail)
    assert "evil" not in words(mail), "a request does not say where links lead"
    token = token_in(mail)
    problem(api.post("/auth/reset", json={"token": token, "password": "short"}), 422)
    assert api.post("/auth/reset", json={"token": token, "password": NEW}).json() == {"name": "bo", "reset": True}
    problem(api.get("/auth/me", **as_(old)), 401)
    assert log_in(api, "bo", NEW)["user"] == "bo"
    assert "good any more" in problem(api.post("/auth/reset", json={"token": token, "password": NEW}), 403)["detail"]


def test_an_administrator_makes_a_link_that_is_shown_once(api: Api, keys: Keyring):
    admin = as_(log_in(api)["token"])
    made = api.post("/users/bo/reset-link", **admin)
    assert made.status_code == 201
    assert set(made.json()) == {"name", "link", "expires_at"}
    assert made.headers["cache-control"] == "no-store"
    token = made.json()["link"].partition("#")[2]
    for path in ("/users", "/audit"):
        assert token[16:] not in api.get(path, **admin).text
    problem(api.post("/users/nobody/reset-link", **admin), 404)
    problem(api.post("/users/bo/reset-link"), 401)
    for scope in ("predict", "read", "data", "train"):
        problem(api.post("/users/bo/reset-link", **as_(keys[scope])), 403)
    assert api.post("/auth/reset", json={"token": token, "password": NEW}).status_code == 200


def test_addresses_are_managed(api: Api):
    admin = as_(log_in(api)["token"])
    assert api.post("/users", json={"name": "cy", "email": "cy@example.org"}, **admin).status_code == 201
    changed = api.request("PATCH", "/users/cy", json={"email": "Cy@Example.ORG"}, **admin)
    assert changed.status_code == 200
    assert {u["name"]: u["email"] for u in api.get("/users", **admin).json()["users"]}["cy"] == "cy@example.org"
    problem(api.request("PATCH", "/users/cy", json={"email": "bo@example.org"}, **admin), 409)
    for wrong in ("x", "a@b, c@d", "a@b\nbcc: c@d", ""):
        problem(api.request("PATCH", "/users/cy", json={"email": wrong}, **admin), 422)
    assert api.request("PATCH", "/users/cy", json={"email": None}, **admin).json() == {"name": "cy", "email": None}


def test_who_asks_hears_the_same_after_the_same_time(api: Api, inbox: tuple[Inbox, int]):
    took: dict[str, list[float]] = {"bo": [], "nobody": [], "ada": []}
    answers = set()
    for _ in range(15):
        for name, times in took.items():
            begun = time.perf_counter()
            answer = api.post("/auth/forgot", json={"user": name})
            times.append(time.perf_counter() - begun)
            answers.add((answer.status_code, answer.text, answer.headers["content-length"]))
            postbox(api).wait()  # so that what is done for one does not slow the next
    assert len(answers) == 1
    quickest = [min(times) for times in took.values()]  # what a busy machine adds says nothing
    assert max(quickest) / min(quickest) < 2, took
    assert len(mails(api, inbox)) == 3, "an inbox is not filled up"


def test_a_mail_server_that_is_away_is_nobody_s_to_hear(repo: FeatureRepo, settings: Settings):  # noqa: F811
    away = settings.model_copy(update={"notify_smtp": type(settings.notify_smtp)(f"smtp://127.0.0.1:{free_port()}")})
    with service(repo, away) as api:
        keyring(repo, settings).accounts.users.add("bo", "user", PASSWORD, by="tests", email="bo@example.org")
        begun = time.perf_counter()
        assert api.post("/auth/forgot", json={"user": "bo"}).status_code == 202
        assert time.perf_counter() - begun < 1
        assert log_in(api, "bo")["user"] == "bo", "and nothing has changed"


def test_asking_and_guessing_from_one_address_is_limited(repo: FeatureRepo, settings: Settings):  # noqa: F811
    with service(repo, settings.model_copy(update={"rate_limit_login": "3/day"})) as api:
        asked = [api.post("/auth/forgot", json={"user": f"x{n}"}).status_code for n in range(5)]
        tried = api.post("/auth/reset", json={"token": FORGED, "password": NEW})
    assert asked == [202] * 3 + [429] * 2
    problem(tried, 429)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/auth/forgot", {}),
        ("/auth/forgot", {"user": ""}),
        ("/auth/forgot", {"user": "x" * 255}),
        ("/auth/forgot", {"user": ["bo"]}),
        ("/auth/forgot", {"user": "bo", "base": "https://evil.example"}),
        ("/auth/reset", {"token": FORGED}),
        ("/auth/reset", {"token": FORGED, "password": ""}),
        ("/auth/reset", {"token": {"$ne": ""}, "password": PASSWORD}),
        ("/auth/reset", {"token": FORGED, "password": PASSWORD, "name": "ada"}),
    ],
)
def test_bodies_of_another_form_are_refused_without_repeating_them(api: Api, path: str, body: dict[str, object]):
    answer = api.post(path, json=body)
    problem(answer, 422)
    assert PASSWORD not in answer.text
    assert FORGED not in answer.text


def test_a_dashboard_that_is_nowhere_is_said_at_the_start(repo: FeatureRepo, settings: Settings):  # noqa: F811
    with pytest.raises(ConfigError, match="PUNCTUAL_DASHBOARD_URL"):
        with service(repo, settings.model_copy(update={"dashboard_url": "nowhere"})):
            pass
