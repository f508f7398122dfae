"""The guard as an attacker meets it: in memory, and never more than a second behind."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import timedelta

import jwt
import pytest

from core.auth.guard import Guard
from core.errors import DatabaseUnavailable, Unauthenticated
from tests.core.auth.conftest import World, bearer

PASSWORD = "a long and winding road"


def until(condition: Callable[[], bool], seconds: float = 1.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


def refused(guard: Guard, credential: str) -> bool:
    try:
        guard.authenticate(bearer(credential))
    except Unauthenticated:
        return True
    return False


def test_a_key_opens_what_it_was_made_for(world: World):
    key, facts = world.accounts.keys.create("client", ["read", "predict"], owner="me", rate_limit="5/second")
    caller = world.guard().authenticate(bearer(key))
    assert caller.scopes == {"predict", "read"}
    assert (caller.id, caller.name, caller.kind, caller.rate_limit) == (facts["id"], "key:client", "key", "5/second")
    assert caller.may("read")
    assert not caller.may("admin")


def test_no_secret_is_in_the_database(world: World):
    key, _ = world.accounts.keys.create("client", ["read"], owner="me")
    world.accounts.users.add("bo", "user", PASSWORD)
    with world.database.engine.connect() as connection:
        everything = ""
        for table in ("api_keys", "users", "audit"):
            everything += repr(connection.exec_driver_sql(f"SELECT * FROM {table}").fetchall())
    assert key[16:] not in everything
    assert PASSWORD not in everything


def test_what_is_no_good_key_is_refused_in_the_same_words(world: World):
    key, facts = world.accounts.keys.create("client", ["read"], owner="me")
    other, _ = world.accounts.keys.create("other", ["admin"], owner="me")
    guard = world.guard()
    wrong = [
        "",
        "pk_",
        key[:-1],
        key + "A",
        key[:-1] + ("A" if key[-1] != "A" else "B"),
        key.upper(),
        f"pk_{facts['id']}_{other[16:]}",
        f"pk_{secrets.token_hex(6)}_{key[16:]}",
        f"pk_{facts['id']}_{'é' * 43}",
        f"{key}\n",
        f"{key}\x00",
        "A" * 5000,
        "' OR 1=1 --",
    ]
    words = set()
    for credential in wrong:
        with pytest.raises(Unauthenticated) as error:
            guard.authenticate(b"Bearer " + credential.encode())
        words.add(str(error.value))
    for header in (b"Basic " + key.encode(), key.encode(), b"Bearer", b"\xff\xfe"):
        with pytest.raises(Unauthenticated):
            guard.authenticate(header)
    assert len(words - {"The token is not good, or no longer. Log in again."}) == 1


def test_an_expired_key_is_refused(world: World):
    key, _ = world.accounts.keys.create("short", ["read"], owner="me", lifetime=timedelta(seconds=0.5))
    guard = world.guard()
    assert not refused(guard, key)
    until(lambda: refused(guard, key))


def test_a_key_revoked_by_one_service_is_refused_by_all_within_a_second(world: World):
    key, facts = world.accounts.keys.create("client", ["read"], owner="me")
    one, two = world.guard(), world.guard()
    assert not refused(one, key)
    assert not refused(two, key)
    world.accounts.keys.revoke(facts["id"])
    until(lambda: refused(one, key) and refused(two, key))


def test_a_new_key_is_known_by_all_within_a_second(world: World):
    guard = world.guard()
    key, _ = world.accounts.keys.create("client", ["read"], owner="me")
    until(lambda: not refused(guard, key))


def test_rotation_keeps_the_old_secret_for_a_while(world: World):
    key, facts = world.accounts.keys.create("client", ["read"], owner="me")
    new = world.accounts.keys.rotate(facts["id"], grace=timedelta(seconds=1.5))
    guard = world.guard()
    assert not refused(guard, new)
    assert not refused(guard, key)
    until(lambda: refused(guard, key), 3)
    assert not refused(guard, new)


def test_when_a_key_was_last_used_is_noted(world: World):
    key, _ = world.accounts.keys.create("client", ["read"], owner="me")
    guard = world.guard()
    guard.authenticate(bearer(key))
    assert world.accounts.keys.all()[0]["last_used_at"] is None, "not while somebody waits"
    guard.close()
    assert world.accounts.keys.all()[0]["last_used_at"] is not None


def log_in(world: World) -> str:
    world.accounts.users.add("bo", "user", PASSWORD)
    return str(world.accounts.sessions.log_in("bo", PASSWORD, "10.0.0.1")["token"])


def test_a_session_is_good_at_once_and_everywhere(world: World):
    one, two = world.guard(), world.guard()
    token = log_in(world)
    for guard in (one, two):
        caller = guard.authenticate(bearer(token))
        assert (caller.name, caller.kind) == ("bo", "session")
        assert caller.scopes == {"predict", "read", "self"}


def test_a_session_that_ended_is_refused_everywhere_within_a_second(world: World):
    token = log_in(world)
    one, two = world.guard(), world.guard()
    world.accounts.sessions.end(one.authenticate(bearer(token)).id)
    until(lambda: refused(one, token) and refused(two, token))


@pytest.mark.parametrize("change", ["password", "reset", "role", "remove"])
def test_what_changes_a_user_ends_their_sessions(world: World, change: str):
    token = log_in(world)
    guard = world.guard()
    assert not refused(guard, token)
    users = world.accounts.users
    {
        "password": lambda: users.change_password("bo", PASSWORD, "another long sentence"),
        "reset": lambda: users.reset("bo"),
        "role": lambda: users.set_role("bo", "admin"),
        "remove": lambda: users.remove("bo"),
    }[change]()
    until(lambda: refused(guard, token))


def test_forged_tokens_are_refused(world: World):
    token = log_in(world)
    guard = world.guard()
    claims = jwt.decode(token, options={"verify_signature": False})
    with pytest.warns(jwt.warnings.InsecureKeyLengthWarning) if hasattr(jwt, "warnings") else _nothing():
        forged = [
            jwt.encode(claims | {"role": "admin"}, "", algorithm="none"),
            jwt.encode(claims, "x" * 40, algorithm="HS256"),
            jwt.encode(claims, "x" * 70, algorithm="HS512"),
            token[:-2],
            token.rsplit(".", 1)[0] + ".",
            ".".join(reversed(token.split("."))),
            token.swapcase(),
        ]
    for credential in forged:
        assert refused(guard, credential), credential


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


def test_a_token_signed_for_something_else_is_refused(world: World):
    token = log_in(world)
    key = (world.layout.secrets / "session.key").read_text()
    claims = jwt.decode(token, options={"verify_signature": False})
    guard = world.guard()
    for change in ({"aud": "other"}, {"iss": "other"}, {"exp": 1}, {"sid": "0" * 32}, {"jti": "0" * 32}):
        assert refused(guard, jwt.encode(claims | change, key, algorithm="HS256")), change
    for lacking in claims:
        if lacking != "chg":
            partial = {k: v for k, v in claims.items() if k != lacking}
            assert refused(guard, jwt.encode(partial, key, algorithm="HS256")), lacking


def test_an_exchanged_token_that_turns_up_again_ends_the_session(world: World):
    token = log_in(world)
    guard = world.guard()
    new = str(world.accounts.sessions.refresh(token)["token"])
    assert not refused(guard, new)
    until(lambda: refused(guard, token))
    with pytest.raises(Unauthenticated, match="exchanged before"):
        world.accounts.sessions.refresh(token)
    until(lambda: refused(guard, new))


def test_with_a_made_up_password_one_can_only_change_it(world: World):
    password = world.accounts.users.add("bo", "admin")
    token = str(world.accounts.sessions.log_in("bo", password, "10.0.0.1")["token"])
    assert world.guard().authenticate(bearer(token)).scopes == {"self"}
    world.accounts.users.change_password("bo", password, PASSWORD)
    token = str(world.accounts.sessions.log_in("bo", PASSWORD, "10.0.0.1")["token"])
    assert world.guard().authenticate(bearer(token)).scopes == {"admin", "self"}


def test_known_keys_outlive_the_database_for_a_minute_and_then_nobody_is_let_in(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    key, _ = world.accounts.keys.create("client", ["read"], owner="me")
    guard = world.guard()

    def away(**_: object) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(guard._database, "session", away)
    time.sleep(0.7)  # two looks in vain
    assert not refused(guard, key)
    monkeypatch.setattr("core.auth.guard._GRACE_SECONDS", 0.5)
    with pytest.raises(DatabaseUnavailable):
        guard.authenticate(bearer(key))
    monkeypatch.undo()
    until(lambda: not refused(guard, key), 2)
