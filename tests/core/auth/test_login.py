"""Guessing at passwords: slowed, not heard, and no way to keep the true owner out."""

from __future__ import annotations

import statistics
import threading
import time
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from core.auth import lockout, passwords
from core.errors import Forbidden, Unauthenticated
from tests.core.auth.conftest import HERE, PASSWORD, THERE, WRONG, World


def fail(world: World, times: int, address: str = THERE, name: str = "bo") -> None:
    for _ in range(times):
        with pytest.raises(Unauthenticated):
            world.log_in(name, WRONG, address)


def lets_in(world: World, address: str) -> bool:
    try:
        world.log_in(address=address)
    except Unauthenticated:
        return False
    return True


def test_who_cannot_log_in_hears_the_same_whatever_the_reason(world: World):
    world.user()
    said = set()
    for name, password in (
        ("bo", WRONG),
        ("nobody", PASSWORD),
        ("../bo", PASSWORD),
        ("b\x00o", WRONG),
        ("\ud800", "x"),
    ):
        with pytest.raises(Unauthenticated) as error:
            world.log_in(name, password)
        said.add(str(error.value))
    fail(world, 5, HERE)
    with pytest.raises(Unauthenticated) as error:  # locked by now: the right password does not help
        world.log_in()
    said.add(str(error.value))
    assert len(said) == 1


def test_after_a_few_failures_one_waits_and_then_gets_in(world: World):
    world.user()
    fail(world, lockout.FREE["pair"])
    assert not lets_in(world, THERE)
    world.clock.move(seconds=1.1)
    assert lets_in(world, THERE)
    fail(world, lockout.FREE["pair"] - 1)
    assert lets_in(world, THERE), "what was right forgets what was wrong"


def test_knocking_during_a_wait_does_not_make_it_longer(world: World):
    world.user()
    world.clock.stand()
    fail(world, lockout.FREE["pair"] + 30)
    world.clock.move(seconds=1.1)
    assert lets_in(world, THERE)


def test_the_owner_gets_in_from_elsewhere_while_somebody_guesses(world: World):
    world.user()
    fail(world, 12)
    assert lets_in(world, HERE)


def test_where_the_owner_has_logged_in_before_no_number_of_guessers_keeps_them_out(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(lockout.FREE, "name", 6)
    world.user()
    assert lets_in(world, HERE)
    for n in range(12):
        fail(world, 1, f"10.9.9.{n}")
    assert not lets_in(world, "10.1.1.1"), "the name itself is locked for addresses that nobody knows"
    assert lets_in(world, HERE)


def test_an_address_that_tries_many_names_is_slowed(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(lockout.FREE, "address", 6)
    world.user()
    for n in range(6):
        fail(world, 1, THERE, f"name{n}")
    assert not lets_in(world, THERE)
    assert lets_in(world, HERE)


def test_a_host_that_changes_its_address_within_its_network_is_slowed(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(lockout.FREE, "address", 4)
    for i in range(4):
        fail(world, 1, f"2001:db8::{i:x}", f"user{i}")
    world.user()
    assert not lets_in(world, "2001:db8::ffff:1")
    assert lets_in(world, "2001:db8:0:1::1"), "the network beside it is another's"


def test_guesses_at_the_same_moment_are_counted_each(world: World):
    world.user()
    looked = []
    verify = world.accounts.users.verify
    world.accounts.sessions._lockout.admit("bo", THERE)  # the row is there: the race is for its number

    def guess() -> None:
        if world.accounts.sessions._lockout.admit("bo", THERE):
            looked.append(verify("bo", WRONG))

    threads = [threading.Thread(target=guess) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(looked) == lockout.FREE["pair"] - 1


def test_first_guesses_at_the_same_moment_are_counted_too(world: World):
    world.accounts.check()
    admitted = []
    threads = [
        threading.Thread(target=lambda: admitted.append(world.accounts.sessions._lockout.admit("bo", THERE)))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(admitted), sum(admitted)) == (12, lockout.FREE["pair"])


def test_an_hour_of_peace_forgets(world: World):
    world.user()
    fail(world, lockout.FREE["pair"])
    world.clock.move(minutes=61)
    fail(world, lockout.FREE["pair"] - 1)
    assert lets_in(world, THERE)
    world.clock.move(days=31)
    assert lets_in(world, HERE)
    with world.database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar_one() == 1, "old rows go"


@given(st.integers(0, 10_000), st.integers(1, 100))
def test_a_wait_grows_to_a_quarter_of_an_hour_and_no_further(failures: int, free: int):
    wait = lockout._wait(failures, free)
    assert timedelta(0) <= wait <= timedelta(minutes=15)
    assert (wait == timedelta(0)) == (failures < free)
    assert lockout._wait(failures + 1, free) >= wait


def test_what_was_typed_as_a_name_is_kept_nowhere(world: World):
    fail(world, 1, name="hunter2 hunter2")
    with world.database.engine.connect() as connection:
        for table in ("attempts", "audit"):
            assert "hunter2" not in repr(connection.exec_driver_sql(f"SELECT * FROM {table}").fetchall())
    (record,) = world.accounts.audit_log()
    assert (record["actor"], record["outcome"], record["address"]) == ("unknown user", "refused", THERE)


def test_tries_during_a_wait_do_not_fill_the_audit_log(world: World):
    world.user()
    fail(world, lockout.FREE["pair"] + 30)
    assert len(world.accounts.audit_log(action="log in")) == lockout.FREE["pair"]


def test_changing_a_password_is_no_way_to_guess_it(world: World):
    world.user()
    for _ in range(lockout.FREE["pair"]):
        with pytest.raises(Forbidden):
            world.accounts.sessions.change_password("bo", WRONG, "another long sentence", THERE)
    with pytest.raises(Forbidden):
        world.accounts.sessions.change_password("bo", PASSWORD, "another long sentence", THERE)


@pytest.mark.alone
@pytest.mark.slow
def test_one_cannot_hear_whether_there_is_such_a_user_or_whether_it_is_locked(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    # Enough work that a missing hash would be heard: 30 ms against a few for the database.
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=3, memory_cost=16384, parallelism=1))
    monkeypatch.setitem(lockout.FREE, "address", 1000)
    world.user("bo")
    world.user("locked")
    fail(world, lockout.FREE["pair"] + 14, name="locked")
    world.clock.move(seconds=-1)  # however long this takes, the wait does not end

    def seconds(name: str) -> float:
        start = time.perf_counter()
        fail(world, 1, f"10.1.1.{len(times)}" if name != "locked" else THERE, name)
        return time.perf_counter() - start

    times: list[tuple[float, float, float]] = []
    for _ in range(9):
        times.append((seconds("bo"), seconds("nobody"), seconds("locked")))
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    assert max(medians) < 1.6 * min(medians), medians


def test_a_machine_whose_clock_is_ahead_makes_nobody_wait(world: World):
    world.user()
    world.clock.move(minutes=5)
    fail(world, 1)
    world.clock.move(minutes=-5)
    assert lets_in(world, THERE)
