"""Users, log-ins, keys, the audit log and the first start, on both kinds of database."""

from __future__ import annotations

import stat
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.auth import first_start
from core.auth import lockout as backoff
from core.clock import SystemClock
from core.errors import Conflict, InvalidRequest, NotFound, PunctualError, Unauthenticated
from core.files import read_secret
from tests.core.auth.conftest import World

PASSWORD = "a long and winding road"


def test_users_come_and_go(world: World):
    users = world.accounts.users
    users.add("ada", "admin", PASSWORD)
    users.add("bo")
    assert [(u["name"], u["role"], u["must_change"]) for u in users.all()] == [
        ("ada", "admin", False),
        ("bo", "user", True),
    ]
    with pytest.raises(Conflict, match="bo"):
        users.add("bo")
    with pytest.raises(Conflict, match="last administrator"):
        users.remove("ada")
    with pytest.raises(Conflict, match="last administrator"):
        users.set_role("ada", "user")
    users.set_role("bo", "admin")
    users.remove("ada")
    assert [u["name"] for u in users.all()] == ["bo"]
    for missing in (users.remove, users.reset, lambda name: users.set_role(name, "user")):
        with pytest.raises(NotFound):
            missing("nobody")


@pytest.mark.parametrize("name", ["", "Bo", "a b", "../x", "a" * 65, ".a", "bo\n", "bö", "a/b"])
def test_odd_user_names_are_refused(world: World, name: str):
    with pytest.raises(InvalidRequest, match="user name"):
        world.accounts.users.add(name)


@pytest.mark.parametrize("password", ["short", "x" * 1025, "aaaaaaaaaaaaaaa", "hello bo hello bo"])
def test_passwords_that_are_easy_to_guess_are_refused(world: World, password: str):
    with pytest.raises(InvalidRequest, match="password"):
        world.accounts.users.add("bo", "user", password)


def test_who_cannot_log_in_hears_the_same_whatever_the_reason(world: World):
    world.accounts.users.add("bo", "user", PASSWORD)
    said = set()
    for name, password in (("bo", "wrong wrong wrong"), ("nobody", PASSWORD), ("../bo", PASSWORD), ("bo", "x" * 1024)):
        with pytest.raises(Unauthenticated) as error:
            world.accounts.sessions.log_in(name, password, "10.0.0.1")
        said.add(str(error.value))
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            world.accounts.sessions.log_in("bo", "wrong wrong wrong", "10.0.0.1")
    with pytest.raises(Unauthenticated) as error:  # locked by now: the right password does not help
        world.accounts.sessions.log_in("bo", PASSWORD, "10.0.0.1")
    said.add(str(error.value))
    assert len(said) == 1


def test_the_true_owner_gets_in_from_elsewhere_while_somebody_guesses(world: World):
    world.accounts.users.add("bo", "user", PASSWORD)
    for _ in range(12):
        with pytest.raises(Unauthenticated):
            world.accounts.sessions.log_in("bo", "wrong wrong wrong", "10.6.6.6")
    assert world.accounts.sessions.log_in("bo", PASSWORD, "10.0.0.1")["user"] == "bo"


def test_a_wait_ends_and_success_forgets(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(backoff._FREE, "pair", 1)
    world.accounts.users.add("bo", "user", PASSWORD)
    with pytest.raises(Unauthenticated):
        world.accounts.sessions.log_in("bo", "wrong wrong wrong", "10.0.0.1")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not backoff.Lockout(world.database).locked("bo", "10.0.0.1"):
            break
        time.sleep(0.05)
    assert world.accounts.sessions.log_in("bo", PASSWORD, "10.0.0.1")
    assert not backoff.Lockout(world.database).locked("bo", "10.0.0.1")


def test_a_wait_grows_to_a_quarter_of_an_hour_and_no_further():
    waits = [backoff._wait(failures, 5) for failures in range(60)]
    assert waits[4] == timedelta(0)
    assert waits[5] == timedelta(seconds=1)
    assert waits == sorted(waits)
    assert waits[-1] == timedelta(minutes=15)


def test_one_cannot_hear_whether_there_is_such_a_user(world: World):
    world.accounts.users.add("bo", "user", PASSWORD)

    def seconds(name: str) -> float:
        start = time.perf_counter()
        world.accounts.users.verify(name, "wrong wrong wrong")
        return time.perf_counter() - start

    pairs = [(seconds("bo"), seconds("nobody")) for _ in range(9)]
    known, unknown = (statistics.median(times) for times in zip(*pairs, strict=True))
    assert 0.5 < known / unknown < 2


def test_keys_are_listed_without_secrets_and_wrong_ones_are_not_made(world: World):
    keys = world.accounts.keys
    key, _ = keys.create("one", ["read"], owner="me", lifetime=timedelta(days=2))
    (listed,) = keys.all()
    assert key[16:] not in repr(listed)
    assert listed["expires_at"] - listed["created_at"] == timedelta(days=2)
    assert listed["created_at"].tzinfo is not None
    for wrong in (
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 65},
        {"scopes": []},
        {"scopes": ["all"]},
        {"scopes": ["self"]},
        {"rate_limit": "lots"},
        {"lifetime": timedelta(0)},
    ):
        with pytest.raises(InvalidRequest):
            keys.create(**({"name": "x", "scopes": ["read"], "owner": "me"} | wrong))
    keys.revoke(listed["id"])
    for again in (keys.revoke, keys.rotate):
        with pytest.raises(NotFound):
            again(listed["id"])


def test_the_audit_log_keeps_everything_but_secrets_and_cannot_be_changed(world: World):
    before = SystemClock().now()
    world.accounts.audit("ada", "POST /keys", "/keys", detail={"name": "x", "password": "hunter2"}, address="10.0.0.1")
    world.accounts.audit("bo", "DELETE /users/{name}", "/users/ada", "refused (403)")
    newest, oldest = world.accounts.audit_log()
    assert (newest["actor"], newest["outcome"]) == ("bo", "refused (403)")
    assert oldest["detail"] == {"name": "x", "password": "***"}
    assert before <= oldest["at"] <= SystemClock().now()
    assert [r["actor"] for r in world.accounts.audit_log(actor="ada")] == ["ada"]
    assert [r["actor"] for r in world.accounts.audit_log(action="POST")] == ["ada"]
    assert world.accounts.audit_log(action="%") == []
    assert [r["actor"] for r in world.accounts.audit_log(before=newest["id"])] == ["ada"]
    assert world.accounts.audit_log(until=before) == []
    for statement in ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"):
        with pytest.raises(DBAPIError, match="append-only"), world.database.session() as session:
            session.execute(text(statement))
    assert len(world.accounts.audit_log()) == 2


def test_the_first_start_makes_an_administrator_and_the_machine_s_keys(world: World):
    password = first_start(world.accounts, world.layout)
    assert password
    assert world.accounts.sessions.log_in("admin", password, "10.0.0.1")["must_change"] is True
    assert first_start(world.accounts, world.layout) is None
    keys = {name: read_secret(world.layout.secrets / f"{name}.key") for name in ("client", "service")}
    assert stat.S_IMODE(world.layout.secrets.stat().st_mode) == 0o700
    for name, key in keys.items():
        assert stat.S_IMODE((world.layout.secrets / f"{name}.key").stat().st_mode) == 0o600
        assert world.accounts.keys.knows(str(key))
    guard = world.guard()
    assert guard.authenticate(f"Bearer {keys['client']}".encode()).scopes == {"predict", "read"}
    assert not guard.authenticate(f"Bearer {keys['service']}".encode()).may("admin")
    # Another database, say: the keys on disk are no good there, and are made anew.
    world.accounts.keys.revoke(str(keys["client"])[3:15])
    first_start(world.accounts, world.layout)
    assert read_secret(world.layout.secrets / "client.key") != keys["client"]
    assert read_secret(world.layout.secrets / "service.key") == keys["service"]


START = """
import sys
from pathlib import Path
from core.auth import Accounts, first_start
from core.database import Database
from core.layout import Layout
from core.settings import Settings
layout, settings = Layout(Path(sys.argv[2])), Settings(database=sys.argv[1])
print(first_start(Accounts(Database(sys.argv[1]), settings, layout), layout) or "")
"""


def test_of_services_that_start_at_once_one_makes_the_administrator(database_url: str, tmp_path: Path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, database_url, tmp_path / "repo"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert len([out for out, _ in said if out.strip()]) == 1


def test_errors_have_no_secrets(world: World):
    key, _ = world.accounts.keys.create("one", ["read"], owner="me")
    with pytest.raises(PunctualError) as error:
        world.guard().authenticate(f"Bearer {key[:-1]}".encode())
    assert key[16:30] not in str(error.value)
