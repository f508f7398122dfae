"""Log-in by a provider, from the link on the form to the page; as a browser, and as somebody else's page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr

from core.errors import ConfigError
from core.http import HttpClient
from core.repo import FeatureRepo
from core.settings import Settings
from dashboard import oidc
from dashboard.session import Sessions
from tests.asgi import Api
from tests.core.auth.conftest import PASSWORD
from tests.core.auth.test_routes import service
from tests.core.keys import LOANS, accounts_of
from tests.core.oidc_provider import CLIENT, SECRET, Provider, query_of
from tests.dashboard.conftest import Accounting, Served
from tests.dashboard.test_login import COOKIE, browser

BASE = "http://localhost"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as one:
        one.redirect_uri = f"{BASE}/login/oidc/back"
        yield one


def settings_for(provider: Provider, **more: Any) -> dict[str, Any]:
    return {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SecretStr(SECRET),
        "dashboard_url": BASE,
        **more,
    }


@pytest.fixture(scope="module")
def accounting(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounting]:
    """A data service that knows the provider."""
    folder = tmp_path_factory.mktemp("oidc") / "loans"
    shutil.copytree(LOANS, folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    repo = FeatureRepo.load(folder)
    settings = Settings(redis="127.0.0.1:1", rate_limit_login="1000/minute", **settings_for(provider))
    accounts = accounts_of(repo, settings)
    accounts.users.add("ada", "admin", PASSWORD, by="tests")
    accounts.users.add("bo", "user", PASSWORD, by="tests", email="bo@example.org")
    with Served(service(repo, settings).app) as served:
        yield Accounting(served.url, accounts, settings)


@pytest.fixture
def sessions(accounting: Accounting) -> Sessions:
    return accounting.sessions()


@pytest.fixture
def web(sessions: Sessions, provider: Provider) -> Iterator[Api]:
    with browser(sessions, **settings_for(provider)) as web:
        yield web


def start(web: Api, target: str = "") -> httpx.Response:
    """Go to the provider, and return where it sends one back to."""
    answer = web.get("/login/oidc", params={"next": target} if target else {})
    assert answer.status_code == 303, answer.text
    return httpx.get(answer.headers["location"], follow_redirects=False)


def back(web: Api, sent: httpx.Response, **changed: str) -> httpx.Response:
    query = {**query_of(sent.headers["location"]), **changed}
    return web.get("/login/oidc/back", params={name: value for name, value in query.items() if value})


def test_from_the_link_on_the_form_to_the_page(web: Api, provider: Provider, sessions: Sessions):
    link = re.search(r'href="(/login/oidc[^"]*)"', web.get("/login?next=/users").text)
    assert link is not None
    assert link[1] == "/login/oidc?next=/users"
    gone = web.get(link[1])
    sent = query_of(gone.headers["location"])
    assert gone.headers["location"].startswith(f"{provider.issuer}/authorize?")
    assert (sent["redirect_uri"], sent["code_challenge_method"]) == (provider.redirect_uri, "S256")
    assert min(len(sent[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    cookie = next(c for c in gone.headers.get_list("set-cookie") if c.startswith(f"{COOKIE}-oidc="))
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    arrived = back(web, httpx.get(gone.headers["location"]))
    assert arrived.status_code == 200
    assert 'http-equiv="refresh" content="0;url=/users"' in arrived.text
    assert arrived.headers["referrer-policy"] == "no-referrer"
    assert arrived.headers["cache-control"] == "no-store"
    kept = next(c for c in arrived.headers.get_list("set-cookie") if c.startswith(f"{COOKIE}="))
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in kept.split(";")}
    session = sessions.find(web._client.cookies[COOKIE])
    assert session is not None
    assert (session.user, session.role) == ("bo", "user")
    assert session.token not in arrived.text
    assert web.get("/").text == "the page"


def test_without_a_provider_there_is_no_link_and_no_route(sessions: Sessions):
    with browser(sessions) as web:
        assert "/login/oidc" not in web.get("/login").text
        assert web.get("/login/oidc").text == "the page"


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "javascript:alert(1)", '/"><script>'])
def test_a_link_cannot_send_one_elsewhere_afterwards(web: Api, target: str):
    arrived = back(web, start(web, target))
    assert 'content="0;url=/"' in arrived.text
    assert "evil" not in arrived.text


def test_where_one_comes_back_to_is_what_the_settings_say(web: Api):
    answer = web.get("/login/oidc", headers={"x-forwarded-host": "evil.example"})
    assert query_of(answer.headers["location"])["redirect_uri"] == f"{BASE}/login/oidc/back"
    assert web.get("/login/oidc", headers={"host": "evil.example"}).status_code == 421


def test_what_came_back_once_is_no_good_again(web: Api):
    sent = start(web)
    assert back(web, sent).status_code == 200
    web._client.cookies.delete(COOKIE)
    answer = back(web, sent)
    assert answer.status_code == 403
    assert "done already" in answer.text


def test_a_code_that_was_used_is_no_good_with_a_fresh_state(web: Api):
    used = query_of(start(web).headers["location"])["code"]
    code = start(web)
    assert back(web, code).status_code == 200
    web._client.cookies.delete(COOKIE)
    assert back(web, start(web), code=query_of(code.headers["location"])["code"]).status_code == 401
    assert back(web, start(web), code=used).status_code == 401, "another log-in's code: its verifier is not here"


@pytest.mark.parametrize(
    "spoil", [{"state": ""}, {"state": "x" * 43}, {"state": "\ud83d"}, {"code": ""}, {"iss": "https://evil.example"}]
)
def test_what_nobody_asked_for_is_refused(web: Api, spoil: dict[str, str]):
    spoiled = {name: value.encode("utf-8", "replace").decode() for name, value in spoil.items()}
    answer = back(web, start(web), **spoiled)
    assert answer.status_code == 403
    assert COOKIE not in {c.split("=")[0] for c in answer.headers.get_list("set-cookie")}


def test_an_error_of_the_provider_is_told_in_our_words(web: Api):
    answer = back(web, start(web), error="access_denied", error_description="<script>alert(1)</script>")
    assert answer.status_code == 403
    assert "refused there" in answer.text
    assert "alert(1)" not in answer.text


def test_another_browser_cannot_be_logged_in_by_a_link(web: Api, sessions: Sessions, provider: Provider):
    with browser(sessions, **settings_for(provider)) as attacker:
        sent = start(attacker)
        assert back(web, sent).status_code == 403, "somebody who has not begun"
    with browser(sessions, **settings_for(provider)) as attacker:
        sent = start(attacker)
        start(web)
        assert back(web, sent).status_code == 403, "somebody who has begun with another state"


def test_a_log_in_that_takes_too_long_begins_again(web: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(oidc, "_SECONDS", -1.0)
    assert back(web, start(web)).status_code == 403


def test_a_flood_of_beginnings_is_not_kept(web: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(oidc, "_MOST", 3)
    sent = [start(web) for _ in range(5)]
    assert back(web, sent[0]).status_code == 403
    assert back(web, sent[-1]).status_code == 200


@pytest.mark.parametrize(
    ("claims", "answer"),
    [
        ({"email": "nobody@example.org"}, {}),
        ({"email_verified": False}, {}),
        ({"aud": "other"}, {}),
        ({"nonce": "another"}, {}),
        ({}, {"id_token": "rubbish"}),
        ({}, {"id_token": None}),
        ({}, {"error": "<script>alert(1)</script>"}),
    ],
)
def test_an_identity_that_is_no_good_logs_nobody_in(
    web: Api, provider: Provider, monkeypatch: pytest.MonkeyPatch, claims: dict[str, Any], answer: dict[str, Any]
):
    monkeypatch.setattr(provider, "claims", {**provider.claims, **claims})
    monkeypatch.setattr(provider, "answer", answer)
    found = back(web, start(web))
    assert found.status_code in (401, 422), found.text
    assert 'role="alert"' in found.text
    assert "alert(1)" not in found.text
    assert web.get("/").headers["location"] == "/login"


def test_who_is_disabled_is_not_let_in(web: Api, accounting: Accounting):
    accounting.accounts.users.disable("bo", by="ada")
    try:
        assert back(web, start(web)).status_code == 401
    finally:
        accounting.accounts.users.enable("bo", by="ada")


def test_a_wrong_secret_is_the_provider_s_to_refuse(sessions: Sessions, provider: Provider):
    with browser(sessions, **settings_for(provider, oidc_client_secret=SecretStr("wrong"))) as web:
        assert back(web, start(web)).status_code == 401


def test_a_provider_that_is_away_is_said(sessions: Sessions, provider: Provider):
    with browser(sessions, **settings_for(provider, oidc_issuer="http://127.0.0.1:1")) as web:
        answer = web.get("/login/oidc")
    assert answer.status_code == 503
    assert "OIDC provider" in answer.text


def test_when_the_accounts_are_away_it_is_said(provider: Provider):
    with browser(Sessions(HttpClient("http://127.0.0.1:1", "data")), **settings_for(provider)) as web:
        assert back(web, start(web)).status_code == 503


def test_over_https_both_cookies_are_bound_to_the_host(sessions: Sessions, provider: Provider):
    with browser(sessions, **settings_for(provider, trusted_proxies=["127.0.0.1"])) as web:
        web._client.headers["x-forwarded-proto"] = "https"
        cookie = web.get("/login/oidc").headers["set-cookie"]
    assert cookie.startswith(f"__Host-{COOKIE}-oidc=")
    assert "Secure" in cookie


def test_settings_that_are_not_whole_stop_the_start(sessions: Sessions, provider: Provider):
    with pytest.raises(ConfigError, match="go together"):
        browser(sessions, oidc_issuer=provider.issuer)
    assert urlsplit(provider.issuer).hostname == "127.0.0.1"
