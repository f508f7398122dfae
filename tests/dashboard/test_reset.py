"""A new password for who cannot log in, as a browser and as somebody else's page meet it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import httpx
import pytest

from core.http import HttpClient
from dashboard.front import FROM_LINK
from dashboard.session import Sessions
from tests.asgi import Api
from tests.core.auth.conftest import until
from tests.core.auth.test_resets import FORGED
from tests.dashboard.conftest import Accounting, Served
from tests.dashboard.test_login import NEW, SAME, browser, form_of, log_in

NAMELESS = {**SAME, "origin": "null"}
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"


@pytest.fixture
def sessions(world: Accounting) -> Sessions:
    world.user("bo")
    return world.sessions()


@pytest.fixture
def web(sessions: Sessions) -> Iterator[Api]:
    with browser(sessions) as web:
        yield web


def code_for(world: Accounting, name: str = "bo") -> str:
    return str(world.accounts.resets.issue(name, by="tests")["link"]).partition("#")[2]


def send(web: Api, code: str, new: str = NEW, again: str | None = None, headers: dict[str, str] = SAME, **more: str):
    fields = {**form_of(web.get("/reset")), "code": code, "new": new, "again": new if again is None else again, **more}
    return web.post("/reset", data=fields, headers=headers)


def ask(web: Api, user: str, headers: dict[str, str] = SAME, **more: str) -> httpx.Response:
    return web.post("/forgot", data={**form_of(web.get("/forgot")), "user": user, **more}, headers=headers)


def test_the_log_in_leads_to_it_and_it_needs_no_session(web: Api):
    assert 'href="/forgot"' in web.get("/login").text
    for path in ("/forgot", "/reset"):
        shown = web.get(path)
        assert shown.status_code == 200
        assert shown.headers["referrer-policy"] == "no-referrer"
        assert shown.headers["cache-control"] == "no-store"
        assert shown.headers["x-frame-options"] == "DENY"


def test_a_link_sets_a_password_and_ends_what_is_open(web: Api, world: Accounting, sessions: Sessions):
    with browser(sessions) as other:
        log_in(other)
        answer = send(web, code_for(world))
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?new=1")
        assert "password is changed" in web.get("/login?new=1").text
        cookie = other._client.cookies["punctual-8501"]
        until(lambda: sessions.check(cookie) is None, 5)
    assert log_in(web, NEW).status_code == 303


def test_what_is_wrong_is_told_in_words_and_what_was_typed_is_not_lost(web: Api, world: Accounting):
    code = code_for(world)
    for answer, status, says in (
        (send(web, code, "short"), 422, "12 to 1024 characters"),
        (send(web, code, NEW, "another"), 422, "two ways"),
        (send(web, "", NEW), 422, "Open the link once more"),
        (send(web, FORGED), 403, "not good any more"),
        (send(web, '"><script>alert(1)</script>'), 403, "not good any more"),
        (send(web, "é" * 300), 403, "not good any more"),
        (send(web, "x" * 9000), 413, "longer"),
    ):
        assert answer.status_code == status, answer.text
        assert says in answer.text
        assert "<script>alert" not in answer.text
        assert NEW not in answer.text
    assert f'value="{code}"' in send(web, code, "short").text
    assert send(web, code).status_code == 303
    assert send(web, code).status_code == 403, "once"


def test_who_asks_reads_the_same_whoever_it_is(web: Api, world: Accounting):
    world.accounts.users.set_email("bo", "bo@example.org", by="tests")
    read = {ask(web, user).text.replace(form_of(web.get("/forgot"))["form"], "") for user in ("bo", "nobody", "root")}
    assert len(read) == 1
    assert "on its way" in read.pop()
    assert ask(web, " ").status_code == 422


def test_asks_are_counted_by_the_browser_s_address(world: Accounting, sessions: Sessions):
    with browser(sessions, trusted_proxies=["127.0.0.1"]) as web:
        web._client.headers["x-forwarded-for"] = "198.51.100.9"
        ask(web, "somebody")
    until(lambda: any(r["address"] == "198.51.100.9" for r in world.accounts.audit_log(action="reset link")), 5)


@pytest.mark.parametrize(
    ("headers", "spoil"),
    [
        ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, {}),
        ({"origin": "null", "sec-fetch-site": "cross-site"}, {}),
        ({"origin": "null", "sec-fetch-site": "same-site"}, {}),
        ({"origin": "null", "sec-fetch-site": "none"}, {}),
        ({}, {}),
        (SAME, {"form": "0" * 64}),
        (NAMELESS, {"form": ""}),
        (NAMELESS, {"form": "é"}),
    ],
)
def test_forms_from_elsewhere_do_nothing(web: Api, world: Accounting, headers: dict[str, str], spoil: dict[str, str]):
    assert send(web, code_for(world), headers=headers, **spoil).status_code == 403
    assert ask(web, "bo", headers, **spoil).status_code == 403
    assert log_in(web).status_code == 303, "the password is what it was"


def test_a_browser_that_names_no_origin_says_where_it_is_from(web: Api, world: Accounting, sessions: Sessions):
    assert send(web, code_for(world), headers=NAMELESS).status_code == 303
    assert send(web, code_for(world), headers={"origin": "null"}).status_code == 303, "without TLS it says nothing else"
    with browser(sessions, trusted_proxies=["127.0.0.1"]) as safe:
        safe._client.headers["x-forwarded-proto"] = "https"
        assert send(safe, code_for(world), headers={"origin": "null"}).status_code == 403


def test_a_form_that_was_made_for_another_browser_does_nothing(web: Api, world: Accounting, sessions: Sessions):
    with browser(sessions) as other:
        stolen = form_of(other.get("/reset"))
    assert send(web, code_for(world), **stolen).status_code == 403


def test_when_the_accounts_are_away_both_pages_say_so():
    with browser(Sessions(HttpClient("http://127.0.0.1:1", "data"))) as web:
        for answer in (ask(web, "bo"), send(web, FORGED)):
            assert answer.status_code == 503
            assert "data service" in answer.text


def test_the_page_s_only_script_is_the_one_that_the_policy_knows(web: Api):
    page = web.get("/reset")
    assert page.text.count("<script") == 1
    assert f"<script>{FROM_LINK}</script>" in page.text
    assert "<script" not in web.get("/forgot").text


@pytest.mark.slow
def test_a_real_browser_tells_nobody_what_the_link_holds(web: Api, world: Accounting):
    from playwright.sync_api import expect, sync_playwright

    code, said, asked = code_for(world), [], []
    with Served(web.app) as served, sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = started.new_page()
        page.on("console", lambda m: said.append(m.text) if "Security Policy" in m.text else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda r: asked.append((r.method, r.url, r.all_headers())))
        page.goto(f"{served.url}/reset#{code}")
        expect(page.get_by_label("What stands behind")).to_be_hidden()
        assert page.url == f"{served.url}/reset", "and it is not in the address bar any more"
        page.get_by_label("New password").fill(NEW)
        page.get_by_label("The same again").fill(NEW)
        page.get_by_role("button", name="Set it").click()
        expect(page.get_by_text("Your password is changed")).to_be_visible()
        started.close()
    assert said == []
    for method, url, headers in asked:
        assert code not in url.partition("#")[0]
        assert code not in str(headers)
        if method == "POST":
            assert "referer" not in headers
    assert world.accounts.users.verify("bo", NEW) is not None
