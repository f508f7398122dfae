from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.auth import Accounts, Guard
from core.database import Database
from core.layout import Layout
from core.settings import Settings


@dataclass(frozen=True)
class World:
    """Accounts on a database, and as many guards of them as there are services."""

    database: Database
    layout: Layout
    accounts: Accounts
    guard: Callable[[], Guard]


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    layout, settings = Layout(tmp_path / "repo"), Settings(database=database_url)
    database = Database(database_url)
    guards: list[Guard] = []

    def guard() -> Guard:
        # A connection of its own, as another service has.
        one = Guard(Database(database_url), settings, layout)
        one.start()
        guards.append(one)
        return one

    yield World(database, layout, Accounts(database, settings, layout), guard)
    for one in guards:
        one.close()
    database.close()


def bearer(credential: str) -> bytes:
    return b"Bearer " + credential.encode()
