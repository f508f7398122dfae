"""Users who are disabled: out within a second everywhere, told nothing, and back as they were."""

from __future__ import annotations

import statistics
import threading
import time

import pytest
from argon2 import PasswordHasher

from core.auth import passwords
from core.errors import Conflict, Forbidden, NotFound, Unauthenticated
from tests.core.auth.conftest import HERE, PASSWORD, THERE, WRONG, World, refused, until
from tests.core.auth.test_users import together


@pytest.fixture(autouse=True)
def _admin(world: World) -> None:
    world.user("ada", "admin")


def said(world: World, name: str, password: str) -> str:
    with pytest.raises(Unauthenticated) as error:
        world.log_in(name, password)
    return str(error.value)


def test_sessions_and_keys_stop_everywhere_within_a_second_and_keys_come_back(world: World):
    token = world.token()
    theirs, _ = world.key(owner="bo")
    others, _ = world.key(owner="ada")
    nobodys, _ = world.key(owner="cli:root")
    one, two = world.guard(), world.guard()
    world.accounts.users.disable("bo", by="ada")
    until(lambda: all(refused(guard, shown) for guard in (one, two) for shown in (token, theirs)))
    assert not refused(one, others)
    assert not refused(one, nobodys), "a key of nobody in particular is nobody's to lose"
    with pytest.raises(Unauthenticated):
        world.accounts.sessions.refresh(token)
    world.accounts.users.enable("bo", by="ada")
    until(lambda: not refused(one, theirs) and not refused(two, theirs))
    assert refused(one, token), "a session that ended does not come back"
    assert world.log_in()["user"] == "bo"


def test_who_is_disabled_hears_what_anybody_hears(world: World):
    world.user()
    wrong = said(world, "bo", WRONG)
    world.accounts.users.disable("bo", by="ada")
    assert {said(world, "bo", PASSWORD), said(world, "bo", WRONG), said(world, "nobody", PASSWORD)} == {wrong}
    with pytest.raises(Forbidden, match="old password is wrong"):
        world.accounts.sessions.change_password("bo", PASSWORD, "another long sentence", HERE)
    newest = world.accounts.audit_log(action="log in")[0]
    assert (newest["actor"], newest["outcome"]) == ("unknown user", "refused")


def test_who_is_disabled_hears_it_after_the_same_time(world: World, monkeypatch: pytest.MonkeyPatch):
    # (Work enough that a comparison that is left out would be heard.)
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=2, memory_cost=8192, parallelism=1))
    passwords._nobody.cache_clear()
    world.user("bo")
    world.user("cy")
    world.accounts.users.disable("bo", by="ada")
    said(world, "cy", WRONG)
    took: dict[str, list[float]] = {"bo": [], "cy": []}
    for number in range(8):
        for name, password in (("bo", PASSWORD), ("cy", WRONG)):
            begun = time.perf_counter()
            with pytest.raises(Unauthenticated):
                world.log_in(name, password, f"10.1.0.{number}")
            took[name].append(time.perf_counter() - begun)
    disabled, wrong = (statistics.median(took[name]) for name in ("bo", "cy"))
    assert 0.5 < disabled / wrong < 2


def test_the_last_administrator_who_may_log_in_stays(world: World):
    users = world.accounts.users
    with pytest.raises(Conflict, match="last administrator"):
        users.disable("ada", by="cli:root")
    world.user("bo", "admin")
    users.disable("bo", by="ada")
    for deed in (users.remove, users.disable, lambda name, by: users.set_role(name, "user", by=by)):
        with pytest.raises(Conflict, match="last administrator"):
            deed("ada", by="cli:root")  # the other one is there, and of no use
    users.set_role("bo", "user", by="ada")
    users.remove("bo", by="ada")
    assert [user["name"] for user in users.all()] == ["ada"]


def test_nobody_disables_themselves_not_even_by_a_key_of_theirs(world: World):
    world.user("bo", "admin")
    for by, owner in (("ada", None), ("ada", "ada"), ("key:mine", "ada")):
        with pytest.raises(Conflict, match="themselves"):
            world.accounts.users.disable("ada", by=by, owner=owner)
    for deed in (world.accounts.users.disable, world.accounts.users.enable):
        for name in ("nobody", "a\x00b", "\ud800"):
            with pytest.raises(NotFound):
                deed(name, by="ada")


def test_two_administrators_who_disable_each_other_at_once_leave_one(world: World):
    world.user("bo", "admin")
    outcomes = together(
        lambda: world.accounts.users.disable("ada", by="bo"), lambda: world.accounts.users.disable("bo", by="ada")
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "NoneType"]
    assert sorted(user["disabled"] for user in world.accounts.users.all()) == [False, True]


def test_a_log_in_at_the_moment_of_disabling_does_not_outlive_it(world: World):
    world.user()
    guard = world.guard()
    tokens: list[str] = []
    stop = threading.Event()

    def knock() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                tokens.append(str(world.log_in(address=f"10.2.0.{number % 200}")["token"]))
            except Unauthenticated:
                continue

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        until(lambda: len(tokens) >= 3, 10)
        world.accounts.users.disable("bo", by="ada")
        until(lambda: all(refused(guard, token) for token in list(tokens)))
    finally:
        stop.set()
        thread.join(30)
    until(lambda: all(refused(guard, token) for token in tokens))


def test_it_is_recorded_once_and_can_be_said_twice(world: World):
    world.user()
    for _ in range(2):
        world.accounts.users.disable("bo", by="ada")
    for _ in range(2):
        world.accounts.users.enable("bo", by="ada")
    acts = [(r["actor"], r["action"], r["target"]) for r in world.accounts.audit_log(actor="ada")]
    assert acts == [("ada", "user enabled", "bo"), ("ada", "user disabled", "bo")]


def test_a_new_password_enables_nobody(world: World):
    world.user()
    world.accounts.users.disable("bo", by="ada")
    given = world.accounts.users.reset("bo", by="ada")
    with pytest.raises(Unauthenticated):
        world.log_in("bo", given, THERE)
