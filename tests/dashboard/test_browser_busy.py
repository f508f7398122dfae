"""What a page says while a service takes its time, in a real Chromium; and who may open its WebSocket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.core.auth.conftest import PASSWORD
from tests.dashboard import stack as stacks
from tests.dashboard.conftest import Served
from tests.dashboard.stack import Stack, log_in

pytestmark = pytest.mark.slow

_METHODS = ["GET", "POST", "PATCH", "DELETE"]
_HOP = {"content-length", "transfer-encoding", "connection", "content-encoding", "host"}


class Slow:
    """A proxy before a service that holds chosen requests until it is told to let them go.

    Attributes
    ----------
    held : set of str
        Paths that are held.
    asked : threading.Event
        Set while one is.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.held: set[str] = set()
        self.asked = threading.Event()
        self._go = threading.Event()

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._pass, methods=_METHODS)])

    def hold(self, *paths: str) -> None:
        self.asked.clear()
        self._go.clear()
        self.held = set(paths)

    def let_go(self) -> None:
        self.held = set()
        self._go.set()

    async def _pass(self, request: Request) -> Response:
        if request.url.path in self.held:
            self.asked.set()
            await asyncio.to_thread(self._go.wait)
        headers = {name: value for name, value in request.headers.items() if name not in _HOP}
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as client:
            sent = {"params": request.query_params, "content": await request.body(), "headers": headers}
            answer = await client.request(request.method, request.url.path, **sent)  # type: ignore[arg-type]
        kept = {name: value for name, value in answer.headers.items() if name not in _HOP}
        return Response(answer.content, answer.status_code, kept)


@pytest.fixture(scope="module")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Slow]]:
    made = stacks.build(tmp_path_factory.mktemp("busy") / "loans")
    slow = Slow(f"http://127.0.0.1:{made.environment['PUNCTUAL_DATA_PORT']}")
    with ExitStack() as left:
        left.callback(made.stop)
        made.accounts.users.add("ada", "admin", PASSWORD, by="tests")
        made.start("data")
        made.environment["PUNCTUAL_DATA_URL"] = left.enter_context(Served(slow.app)).url
        left.callback(slow.let_go)
        made.start("dashboard")
        yield made, slow


@pytest.fixture
def stack(_served: tuple[Stack, Slow]) -> Stack:
    return _served[0]


@pytest.fixture
def slow(_served: tuple[Stack, Slow]) -> Iterator[Slow]:
    yield _served[1]
    _served[1].let_go()


def heights(page: Page) -> Any:
    """Return how far from its top each heading of the page stands."""
    return page.locator("h1, h3").evaluate_all("all => all.map(one => Math.round(one.getBoundingClientRect().top))")


def test_a_page_says_what_it_waits_for_while_it_waits_and_nothing_moves(
    tab: Callable[..., Page], stack: Stack, slow: Slow
):
    page = tab(color_scheme="dark")
    log_in(page, stack, "ada", at="/users")
    words = page.get_by_role("status").filter(has_text="Reading the users ...")
    change = page.get_by_role("heading", name="Change a user")
    expect(change).to_be_visible()
    page.get_by_test_id("stDataFrame").wait_for()
    expect(words).to_have_count(0)
    before = heights(page)
    slow.hold("/users")
    page.get_by_label("Filter").fill("ada")
    page.keyboard.press("Enter")
    assert slow.asked.wait(30), "the page asks for the users again"
    expect(words).to_be_visible()
    expect(words).to_have_attribute("aria-live", "polite")
    expect(words).to_have_css("opacity", "1")
    assert heights(page) == before, "the words lie over the page, and push nothing down"
    slow.let_go()
    expect(words).to_have_count(0)
    expect(page.get_by_text("1 of 1 rows")).to_be_visible()
    assert heights(page) == before


def test_a_page_that_is_opened_says_what_it_waits_for_at_once(tab: Callable[..., Page], stack: Stack, slow: Slow):
    page = tab(reduced_motion="reduce")
    log_in(page, stack, "ada", at="/health")
    expect(page.get_by_role("heading", name="prediction", exact=True)).to_be_visible()
    for name, path, says in (
        ("API keys", "/keys", "Reading the keys ..."),
        ("Audit log", "/audit", "Reading the records ..."),
    ):
        slow.hold(path)
        page.get_by_role("link", name=name).click()
        assert slow.asked.wait(30), path
        words = page.get_by_role("status").filter(has_text=says)
        expect(words).to_be_visible()
        assert words.locator("i").evaluate("one => getComputedStyle(one).animationName") == "none"
        slow.let_go()
        expect(words).to_have_count(0)
        expect(page.get_by_test_id("stDataFrame")).to_be_visible()


def test_what_another_page_opens_is_no_websocket_of_ours(tab: Callable[..., Page], stack: Stack):
    page = tab()
    log_in(page, stack, "ada", at="/users")
    expect(page.get_by_role("heading", name="Change a user")).to_be_visible()
    cookie = "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())
    address = f"{stack.url.replace('http', 'ws', 1)}/_stcore/stream"
    headers = {"cookie": cookie}
    for origin in ("http://127.0.0.1:1", "http://localhost:8501", "https://evil.example", "null"):
        with pytest.raises(InvalidStatus) as refused:
            connect(address, origin=Origin(origin), additional_headers=headers)
        assert refused.value.response.status_code == 403, origin
    with connect(address, origin=Origin(stack.url), additional_headers=headers) as socket:
        socket.ping()
