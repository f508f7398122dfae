"""The data service's accounts, served for real on a socket; the dashboard's own part in memory."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from argon2 import PasswordHasher
from fastapi import FastAPI

from core.auth import Accounts, passwords
from core.auth.routes import add_auth_routes
from core.http import HttpClient
from core.repo import FeatureRepo
from core.service import create_app, harden
from core.settings import Settings, get_settings
from dashboard.services import Services, services
from dashboard.session import Sessions
from tests.conftest import free_port
from tests.core.auth.conftest import PASSWORD, MovableClock
from tests.core.keys import LOANS, accounts_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.dashboard.stack import Stack

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
BROWSER_PATIENCE = 90_000
_PATIENCE = 20


class Served:
    """An ASGI app on a free port, in a thread."""

    def __init__(self, app: Any) -> None:
        self.port = free_port()
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", proxy_headers=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Served:
        self._thread.start()
        deadline = time.monotonic() + _PATIENCE
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(_PATIENCE)


@dataclass
class Accounting:
    """An accounts service, and a dashboard's sessions with it.

    Attributes
    ----------
    accounts : Accounts
        What the service keeps.
    clock : MovableClock
        The dashboard's alone.
    """

    url: str
    accounts: Accounts
    settings: Settings
    clock: MovableClock = field(default_factory=MovableClock)

    @cached_property
    def http(self) -> HttpClient:
        return HttpClient(self.url, "data")

    def sessions(self) -> Sessions:
        return Sessions(self.http, self.clock)

    def user(self, name: str, role: str = "user") -> str:
        """Make a user anew, with the tests' password."""
        if self.accounts.users.exists(name):
            self.accounts.users.set_role(name, role, by="tests")
            self.accounts.users.set_password(name, PASSWORD, by="tests")
        else:
            self.accounts.users.add(name, role, PASSWORD, by="tests")
        return name


@asynccontextmanager
async def _nothing(app: FastAPI) -> AsyncIterator[None]:
    yield


@pytest.fixture(scope="session")
def _accounts_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Accounts, Settings]]:
    before, passwords._HASHER = passwords._HASHER, PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
    passwords._nobody.cache_clear()
    folder = tmp_path_factory.mktemp("dashboard") / "loans"
    shutil.copytree(LOANS, folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    repo = FeatureRepo.load(folder)
    settings = Settings(
        feature_repo=Path(folder),
        redis="127.0.0.1:1",
        rate_limit_login="1000/minute",
        trusted_proxies=["127.0.0.1"],
    )
    app = create_app("t", name="data", lifespan=_nothing, checks={}, repo=repo, settings=settings)
    add_auth_routes(app)
    accounts = accounts_of(repo, settings)
    accounts.users.add("root", "admin", PASSWORD, by="tests")
    with Served(harden(app)) as served:
        yield served.url, accounts, settings
    passwords._HASHER = before
    passwords._nobody.cache_clear()


@pytest.fixture
def world(_accounts_service: tuple[str, Accounts, Settings]) -> Accounting:
    return Accounting(*_accounts_service)


@pytest.fixture(scope="module")
def dashboard_services(_accounts_service: tuple[str, Accounts, Settings]) -> Iterator[Services]:
    """What pages talk to, in this process: the accounts are real, the other services are not there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUNCTUAL_DATA_URL", _accounts_service[0])
        for name in ("PREDICTION", "TRAINING", "MONITORING"):
            patch.setenv(f"PUNCTUAL_{name}_URL", "http://127.0.0.1:1")
        get_settings.cache_clear()
        services.cache_clear()
        made = services()
        made.board.look()
        yield made
        made.close()
    get_settings.cache_clear()
    services.cache_clear()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=BROWSER_PATIENCE)
    with sync_playwright() as playwright:
        # (In a container Chromium cannot make a sandbox inside of the one it is in.)
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def said() -> list[str]:
    """What went wrong in the browser: errors of scripts, what the policy refused, what was asked of other hosts."""
    return []


@pytest.fixture
def tab(browser: Browser, stack: Stack, said: list[str]) -> Iterator[Callable[..., Page]]:
    """Open browsers of their own, each with a first tab."""
    contexts = []

    def listen(page: Page) -> None:
        page.set_default_timeout(BROWSER_PATIENCE)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda m: said.append(m.text) if "Security Policy" in m.text else None)
        page.on(
            "request",
            lambda r: None if r.url.startswith((stack.url, "data:", "blob:")) else said.append(f"asked {r.url}"),
        )

    def open_one(**options: object) -> Page:
        context = browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 1000}), **options)  # type: ignore[arg-type]
        contexts.append(context)
        context.on("page", listen)
        return context.new_page()

    yield open_one
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Page, str], None]:
    folder = Path(os.environ.get("PUNCTUAL_SCREENSHOTS") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        from tests.dashboard.narrow import settled

        settled(page)
        page.wait_for_timeout(400)  # for charts to settle
        page.screenshot(path=folder / f"{name}.png")

    return take
