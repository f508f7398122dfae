"""The routes around Streamlit, as a browser and as somebody else's page meet them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from core.settings import Settings
from dashboard.front import Front
from dashboard.login import Login
from dashboard.session import Sessions
from tests.asgi import Api
from tests.core.auth.conftest import PASSWORD, WRONG
from tests.dashboard.conftest import Accounting

SAME = {"origin": "http://localhost", "sec-fetch-site": "same-origin", "accept": "text/html"}
COOKIE = "punctual-8501"
NEW = "another long sentence"


async def _page(_: Any) -> PlainTextResponse:
    return PlainTextResponse("the page")


async def _stream(socket: WebSocket) -> None:
    await socket.accept()
    session = socket.state.session
    await socket.send_text(session.user if session else "nobody")
    await socket.close()


def browser(sessions: Sessions, **options: Any) -> Api:
    """Return a browser before the dashboard's front, with a page behind it where Streamlit is."""
    settings = Settings(**options)
    front = Middleware(Front, settings=settings, sessions=sessions)
    routes = [*Login(settings, sessions).routes(), Route("/{page:path}", _page, methods=["GET", "PUT"])]
    api = Api(Starlette(routes=routes, middleware=[front]))
    api._client.headers["accept"] = "text/html"
    return api


@pytest.fixture
def sessions(world: Accounting) -> Sessions:
    world.user("bo")
    return world.sessions()


@pytest.fixture
def web(sessions: Sessions) -> Iterator[Api]:
    with browser(sessions) as web:
        yield web


def form_of(answer: httpx.Response) -> dict[str, str]:
    """Return the hidden fields of a page's form."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', answer.text)
    return dict(found)


def log_in(web: Api, password: str = PASSWORD, user: str = "bo", next_page: str = "") -> httpx.Response:
    shown = web.get("/login", params={"next": next_page} if next_page else {})
    return web.post("/login", data={**form_of(shown), "user": user, "password": password}, headers=SAME)


def test_without_a_session_there_is_the_log_in_and_nothing_else(web: Api):
    assert web.get("/").headers["location"] == "/login"
    assert web.get("/audit-log").headers["location"] == "/login?next=/audit-log"
    for method, path in (("GET", "/media/x.csv"), ("PUT", "/_stcore/upload_file/a/b"), ("GET", "/component/x")):
        assert web.request(method, path, headers={"accept": "*/*"}).status_code == 401
    assert web.get("/_stcore/health").text == "the page", "a probe has no session"
    assert web.get("/static/js/x.js").text == "the page"


def test_a_log_in_sets_a_cookie_that_scripts_and_other_sites_never_see(web: Api, sessions: Sessions):
    answer = log_in(web, next_page="/users")
    assert (answer.status_code, answer.headers["location"]) == (303, "/users")
    cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith(f"{COOKIE}="))
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    value = cookie.split(";")[0].split("=", 1)[1]
    assert sessions.find(value).user == "bo"  # type: ignore[union-attr]
    assert sessions.find(value).token not in str(answer.headers)  # type: ignore[union-attr]
    assert web.get("/").text == "the page"
    assert web.get("/login").headers["location"] == "/", "whoever is logged in need not log in"


def test_over_https_the_cookie_is_secure_and_bound_to_the_host(sessions: Sessions):
    with browser(sessions, trusted_proxies=["127.0.0.1"]) as web:
        web._client.headers["x-forwarded-proto"] = "https"
        # (The client forgets secure cookies of an address without TLS, so they are carried by hand.)
        shown = web.get("/login")
        secret = re.search(r"__Host-punctual-8501-form=([^;]+)", shown.headers["set-cookie"])[1]  # type: ignore[index]
        answer = web.post(
            "/login",
            data={**form_of(shown), "user": "bo", "password": PASSWORD},
            headers={**SAME, "origin": "https://localhost", "cookie": f"__Host-punctual-8501-form={secret}"},
        )
    assert answer.status_code == 303, answer.text
    cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith(f"__Host-{COOKIE}="))
    assert "Secure" in cookie
    assert "max-age=31536000" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/a?b", "/a?a-part=b&c=d"]
)
def test_a_link_cannot_send_one_elsewhere_after_the_log_in(web: Api, target: str):
    assert log_in(web, next_page=target).headers["location"] == "/"


def test_a_part_of_a_page_is_gone_on_to_after_the_log_in(web: Api):
    asked = "/data?data-part=Runs+of%20the+flow"
    sent_to = web.get(asked).headers["location"]
    assert sent_to == f"/login?next={quote(asked)}"
    assert web.get("/audit-log?who=me").headers["location"] == "/login?next=/audit-log"
    assert log_in(web, next_page=asked).headers["location"] == asked


def test_the_first_page_is_found_by_its_name_too(web: Api):
    log_in(web)
    assert web.get("/predict").headers["location"] == "/"
    assert web.get("/").status_code == 200


def test_a_wrong_password_is_told_in_words_and_the_name_stays(web: Api):
    answer = log_in(web, WRONG, user='bo"><script>')
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "<script>" not in answer.text
    assert WRONG not in answer.text
    assert web.get("/").headers["location"] == "/login"
    assert log_in(web, "", user="bo").status_code == 422


def test_when_the_accounts_are_away_the_form_says_so(world: Accounting):
    from core.http import HttpClient

    with browser(Sessions(HttpClient("http://127.0.0.1:1", "data"))) as web:
        answer = log_in(web)
    assert answer.status_code == 503
    assert "data service" in answer.text


@pytest.mark.parametrize(
    ("headers", "spoil"),
    [
        ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, {}),
        ({"origin": "http://localhost", "sec-fetch-site": "same-site"}, {}),
        ({"origin": "null"}, {}),
        ({}, {}),
        (SAME, {"form": "0" * 64}),
        (SAME, {"form": ""}),
    ],
)
def test_a_form_from_elsewhere_logs_nobody_in(web: Api, headers: dict[str, str], spoil: dict[str, str]):
    sent = {**form_of(web.get("/login")), "user": "bo", "password": PASSWORD, **spoil}
    answer = web.post("/login", data=sent, headers=headers)
    assert answer.status_code == 403
    assert COOKIE not in {c.split("=")[0] for c in answer.headers.get_list("set-cookie")}


def test_a_form_that_was_made_for_another_browser_logs_nobody_in(web: Api, sessions: Sessions):
    with browser(sessions) as other:
        stolen = form_of(other.get("/login"))
    web.get("/login")
    answer = web.post("/login", data={**stolen, "user": "bo", "password": PASSWORD}, headers=SAME)
    assert answer.status_code == 403


def test_a_log_out_needs_the_page_s_own_token_and_ends_everything(web: Api, sessions: Sessions):
    log_in(web)
    cookie = web._client.cookies[COOKIE]
    session = sessions.find(cookie)
    assert session is not None
    for headers, token in ((SAME, "wrong"), ({"origin": "https://evil.example"}, session.form_token)):
        assert web.post("/logout", data={"form": token}, headers=headers).status_code == 403
    assert web.get("/logout").headers["location"] == "/", "a link or an image logs nobody out"
    assert web.get("/").text == "the page"
    answer = web.post("/logout", data={"form": session.form_token}, headers=SAME)
    assert answer.headers["location"] == "/login?out=1"
    assert "logged out" in web.get("/login?out=1").text
    assert sessions.find(cookie) is None
    assert web.get("/", headers={"cookie": f"{COOKIE}={cookie}"}).status_code == 303, "the old cookie opens nothing"


def test_a_made_up_password_opens_one_page_until_it_is_changed(web: Api, world: Accounting, sessions: Sessions):
    given = world.accounts.users.reset("bo", by="tests")
    assert log_in(web, given).headers["location"] == "/password"
    assert web.get("/users").headers["location"] == "/password"
    first = web._client.cookies[COOKIE]
    shown = web.get("/password")
    assert "made up for you" in shown.text

    def change(old: str, new: str, again: str | None = None, **more: str) -> httpx.Response:
        fields = {**form_of(shown), "old": old, "new": new, "again": again or new, **more}
        return web.post("/password", data=fields, headers=SAME)

    for answer, status, says in (
        (change(given, "short"), 422, "12 to 1024 characters"),
        (change(given, NEW, "not the same"), 422, "two ways"),
        (change(WRONG, NEW), 403, "old password is wrong"),
        (change(given, NEW, form="x"), 403, "too old"),
    ):
        assert answer.status_code == status, answer.text
        assert says in answer.text
    assert change(given, NEW).headers["location"] == "/"
    assert web._client.cookies[COOKIE] != first, "a new session, behind a new cookie"
    assert sessions.find(first) is None
    assert web.get("/").text == "the page"


def test_bodies_and_hosts_that_are_none_of_ours_are_refused(web: Api):
    form = form_of(web.get("/login"))
    assert web.post("/login", data={**form, "user": "a" * 9000, "password": "x"}, headers=SAME).status_code == 413
    log_in(web)
    for path in ("/logout", "/password"):
        answer = web.post(path, data={"form": "a" * 9000}, headers=SAME)
        assert answer.status_code == 413, path
        assert "longer than any name and password" in answer.text
        assert web.post(path, data={str(i): "x" for i in range(11)}, headers=SAME).status_code == 413, path
    assert web.get("/").text == "the page", "nobody was logged out by it"
    assert web.get("/login", headers={"host": "evil.example"}).status_code == 421
    for path in ("/auth/login", "/oauth2callback", "/_stcore/agent/interact", "/_stcore/metrics"):
        assert web.get(path).status_code == 404, path


def socket_of(sessions: Sessions, cookie: str, **headers: str) -> str:
    """Open the page's WebSocket as a browser does that shows a cookie, and return whose it is."""
    front = Middleware(Front, settings=Settings(), sessions=sessions)
    app = Starlette(routes=[WebSocketRoute("/{path:path}", _stream)], middleware=[front])
    sent = {"host": "localhost:8501", "cookie": f"{COOKIE}={cookie}", **headers}
    with TestClient(app).websocket_connect("/_stcore/stream", headers=sent) as socket:
        return socket.receive_text()


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",  # the same machine, and so the same site: our cookie comes along
        "http://localhost",
        "http://127.0.0.1:8501",
        "https://evil.example",
        "http://localhost:8501.evil.example",
        "http://evil.example@localhost:8501",
        "null",
        "",
        "localhost:8501",
        "http://[",
    ],
)
def test_a_websocket_that_another_page_opens_is_refused_even_with_our_cookie(sessions: Sessions, origin: str):
    cookie = sessions.log_in("bo", PASSWORD, "127.0.0.1")
    with pytest.raises(WebSocketDisconnect) as refused:
        socket_of(sessions, cookie, origin=origin)
    assert refused.value.code == 1008


@pytest.mark.parametrize("headers", [{"origin": "http://localhost:8501"}, {"origin": "https://localhost:8501"}, {}])
def test_a_websocket_of_a_page_of_ours_is_taken(sessions: Sessions, headers: dict[str, str]):
    cookie = sessions.log_in("bo", PASSWORD, "127.0.0.1")
    assert socket_of(sessions, cookie, **headers) == "bo"
    sessions.log_out(cookie)
    assert socket_of(sessions, cookie, **headers) == "nobody", "the page is told that its session is over"


def test_a_websocket_without_a_host_is_of_no_page(sessions: Sessions):
    with pytest.raises(WebSocketDisconnect):
        socket_of(sessions, "x", host="", origin="null")


def test_an_origin_that_is_no_address_logs_nobody_in(web: Api):
    sent = {**form_of(web.get("/login")), "user": "bo", "password": PASSWORD}
    assert web.post("/login", data=sent, headers={"origin": "http://["}).status_code == 403


def test_every_answer_carries_safe_headers(web: Api):
    for path in ("/login", "/", "/_stcore/health", "/auth/login"):
        headers = web.get(path).headers
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
        assert "unsafe-inline" not in scripts
        assert "'unsafe-eval'" not in scripts
    assert web.get("/login").headers["cache-control"] == "no-store"


def test_failures_are_counted_by_the_browser_s_address(world: Accounting, sessions: Sessions):
    with browser(sessions, trusted_proxies=["127.0.0.1"]) as web:
        web._client.headers["x-forwarded-for"] = "6.6.6.6, 198.51.100.7"
        log_in(web, WRONG)
    newest = world.accounts.audit_log(actor="bo", action="log in", limit=1)[0]
    assert (newest["outcome"], newest["address"]) == ("refused", "198.51.100.7")
