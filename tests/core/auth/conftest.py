from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from core.auth import Accounts, Guard, passwords
from core.clock import SystemClock
from core.database import Database
from core.errors import Unauthenticated
from core.layout import Layout
from core.settings import Settings

PASSWORD = "a long and winding road"
WRONG = "the wrong words entirely"
HERE, THERE = "10.0.0.1", "10.6.6.6"


@dataclass
class MovableClock:
    """The machine's clock, and whatever a test adds to it."""

    ahead: timedelta = timedelta(0)
    standing: datetime | None = None

    def now(self) -> datetime:
        return (self.standing or SystemClock().now()) + self.ahead

    def stand(self) -> None:
        """Go on by :meth:`move` alone: how long the machine takes for what follows does not matter then."""
        self.standing = SystemClock().now()

    def move(self, **by: float) -> None:
        self.ahead += timedelta(**by)


@dataclass
class World:
    """Accounts on a database, and as many guards of them as there are services."""

    url: str
    layout: Layout
    settings: Settings
    clock: MovableClock
    database: Database
    accounts: Accounts
    guards: list[Guard] = field(default_factory=list)

    def guard(self) -> Guard:
        """Start a guard with a connection of its own, as another service has."""
        one = Guard(Database(self.url), self.settings, self.layout, self.clock)
        one.start()
        self.guards.append(one)
        return one

    def user(self, name: str = "bo", role: str = "user", password: str | None = PASSWORD) -> str:
        return self.accounts.users.add(name, role, password, by="tests")

    def log_in(self, name: str = "bo", password: str = PASSWORD, address: str = HERE) -> dict[str, Any]:
        return self.accounts.sessions.log_in(name, password, address)

    def token(self, name: str = "bo") -> str:
        """Return a token of a user, who is made if need be."""
        if not self.accounts.users.exists(name):
            self.user(name)
        return str(self.log_in(name)["token"])

    def key(self, *scopes: str, **options: Any) -> tuple[str, str]:
        """Return a key and its id."""
        key, facts = self.accounts.keys.create("client", scopes or ["read"], **{"owner": "tests", **options})
        return key, facts["id"]


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Argon2 with a hundredth of the work; what is tested is when and how often it is done.
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1))
    passwords._nobody.cache_clear()


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    layout, settings, clock = Layout(tmp_path / "repo"), Settings(database=database_url), MovableClock()
    database = Database(database_url)
    accounts = Accounts(database, settings, layout, clock)
    made = World(database_url, layout, settings, clock, database, accounts)
    yield made
    for one in made.guards:
        one.close()
        one._database.close()
    database.close()


def bearer(credential: str | bytes) -> bytes:
    return b"Bearer " + (credential if isinstance(credential, bytes) else credential.encode())


def refused(guard: Guard, credential: str | bytes) -> bool:
    try:
        guard.authenticate(bearer(credential))
    except Unauthenticated:
        return True
    return False


def until(condition: Callable[[], bool], seconds: float = 1.0) -> None:
    """Wait for a condition; fail if it does not come about in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)
