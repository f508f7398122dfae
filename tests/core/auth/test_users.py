"""Users, and the rules of their passwords."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from argon2 import PasswordHasher

from core.auth import passwords
from core.errors import Conflict, InvalidRequest, NotFound, PunctualError
from tests.core.auth.conftest import HERE, PASSWORD, World


def test_users_come_and_go(world: World):
    users = world.accounts.users
    world.user("ada", "admin")
    world.user("bo", password=None)
    assert [(u["name"], u["role"], u["must_change"]) for u in users.all()] == [
        ("ada", "admin", False),
        ("bo", "user", True),
    ]
    with pytest.raises(Conflict, match="bo"):
        world.user("bo")
    users.set_role("bo", "admin", by="ada")
    users.remove("ada", by="bo")
    assert [u["name"] for u in users.all()] == ["bo"]
    for missing in (users.remove, users.reset, lambda name, by: users.set_role(name, "user", by=by)):
        for name in ("nobody", "a\x00b", "é" * 400, "'; DROP TABLE users --", "\ud800"):
            with pytest.raises(NotFound):
                missing(name, by="bo")
    with pytest.raises(InvalidRequest, match="role"):
        users.set_role("bo", "emperor", by="bo")


def test_the_last_administrator_stays(world: World):
    users = world.accounts.users
    world.user("ada", "admin")
    with pytest.raises(Conflict, match="last administrator"):
        users.remove("ada", by="ada")
    with pytest.raises(Conflict, match="last administrator"):
        users.set_role("ada", "user", by="ada")


def test_two_administrators_who_remove_each_other_at_once_leave_one(world: World):
    world.user("ada", "admin")
    world.user("bo", "admin")
    outcomes = together(
        lambda: world.accounts.users.remove("ada", by="bo"),
        lambda: world.accounts.users.set_role("bo", "user", by="ada"),
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "NoneType"]
    assert [u["role"] for u in world.accounts.users.all()].count("admin") == 1


def together(*deeds: Callable[[], object]) -> list[PunctualError | None]:
    """Do things at once and return what came of each: None or an error."""
    barrier = threading.Barrier(len(deeds))
    outcomes: list[PunctualError | None] = [None] * len(deeds)

    def run(number: int) -> None:
        barrier.wait()
        try:
            deeds[number]()
        except PunctualError as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(deeds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


@pytest.mark.parametrize("name", ["", "Bo", "a b", "../x", "a" * 65, ".a", "bo\n", "bö", "a/b", "key:x", "a\x00"])
def test_odd_user_names_are_refused(name: str, tmp_path):
    from core.auth.users import Users
    from core.database import Database

    with pytest.raises(InvalidRequest, match="user name"):
        Users(Database(f"sqlite:///{tmp_path / 'a.db'}")).add(name, by="tests")


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("short", "12 to 1024"),
        ("x" * 1025, "12 to 1024"),
        ("aaaaaaaaaaaaaaa", "different"),
        ("BartholomewB", "user name"),
        ("bartholomew!bartholomew", "user name"),
    ],
)
def test_passwords_that_are_easy_to_guess_are_refused(password: str, says: str):
    with pytest.raises(InvalidRequest, match=says) as error:
        passwords.check_rules("bartholomew", password)
    assert password not in str(error.value)


@pytest.mark.parametrize(
    "password", [PASSWORD, "x1y2z3" * 170, "pass\x00word\ud800 odd", "пароль-пароль", "🙂🙃😉😊🙂🙃😉😊🤖🤖🤖🤖"]
)
def test_any_characters_can_be_in_a_password(password: str):
    passwords.check_rules("bo", password)
    digest = passwords.hashed(password)
    assert passwords.matches(digest, password)
    assert not passwords.matches(digest, password + "x")
    assert not passwords.matches(digest, password[:-1])


def test_the_same_characters_from_another_keyboard_are_the_same_password():
    assert passwords.matches(passwords.hashed("caf\u00e9 caf\u00e9 caf\u00e9"), "cafe\u0301 cafe\u0301 cafe\u0301")


def test_a_hash_that_cannot_be_read_matches_nothing():
    assert not passwords.matches("$argon2id$what", PASSWORD)


def test_hashes_follow_the_parameters_when_somebody_logs_in(world: World, monkeypatch: pytest.MonkeyPatch):
    world.user()
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=2, memory_cost=2048, parallelism=1))
    assert world.log_in()["user"] == "bo"
    with world.database.engine.connect() as connection:
        assert "m=2048,t=2" in connection.exec_driver_sql("SELECT password_hash FROM users").scalar_one()
    assert world.log_in()["user"] == "bo"


def test_a_made_up_password_can_be_used_once(world: World):
    made_up = world.user(password=None)
    assert len(made_up) >= 20
    assert world.log_in("bo", made_up)["must_change"] is True
    changed = world.accounts.sessions.change_password("bo", made_up, PASSWORD, HERE)
    assert changed["must_change"] is False
    reset = world.accounts.users.reset("bo", by="ada")
    assert reset != made_up
    assert world.log_in("bo", reset)["must_change"] is True


def test_a_user_who_goes_takes_their_keys_along(world: World):
    world.user("ada", "admin")
    world.user("bo")
    _, of_ada = world.key(owner="ada")
    _, of_bo = world.key(owner="bo")
    world.accounts.users.remove("bo", by="ada")
    assert {k["id"]: k["revoked_at"] is not None for k in world.accounts.keys.all()} == {of_ada: False, of_bo: True}


def test_who_is_no_administrator_any_more_has_no_administrator_s_keys(world: World):
    world.user("ada", "admin")
    world.user("bo", "admin")
    _, mighty = world.key("admin", owner="bo")
    _, meek = world.key("read", owner="bo")
    world.accounts.users.set_role("bo", "user", by="ada")
    gone = {k["id"] for k in world.accounts.keys.all() if k["revoked_at"]}
    assert gone == {mighty}
    assert meek not in gone
