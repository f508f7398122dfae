"""API keys: what may be made, what is told of them, and who is refused."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.auth.keys import split
from core.auth.principal import SCOPES
from core.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from tests.core.auth.conftest import PASSWORD, World, bearer, refused, until


def test_a_key_opens_what_it_was_made_for(world: World):
    key, key_id = world.key("read", "predict", rate_limit="5/second")
    caller = world.guard().authenticate(bearer(key))
    assert caller.scopes == {"predict", "read"}
    assert (caller.id, caller.name, caller.kind, caller.rate_limit) == (key_id, "key:client", "key", "5/second")
    assert caller.owner == "tests"
    assert caller.may("read")
    assert not caller.may("admin")
    assert not caller.may("data")


def test_keys_are_listed_without_secrets(world: World):
    key, _ = world.key(lifetime=timedelta(days=2))
    (listed,) = world.accounts.keys.all()
    assert key[16:] not in repr(listed)
    assert "hash" not in repr(listed)
    assert listed["expires_at"] - listed["created_at"] == timedelta(days=2)
    assert listed["created_at"].tzinfo is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 65},
        {"name": "a\x00"},
        {"name": "[red]"},
        {"scopes": []},
        {"scopes": ["all"]},
        {"scopes": ["self"]},
        {"scopes": ["public"]},
        {"rate_limit": "lots"},
        {"rate_limit": "5/second; 9/minute"},
        {"rate_limit": "0/minute"},
        {"rate_limit": "9" * 30 + "/minute"},
        {"lifetime": timedelta(0)},
        {"lifetime": timedelta(days=9999)},
    ],
)
def test_wrong_keys_are_not_made(world: World, wrong: dict[str, object]):
    with pytest.raises(InvalidRequest):
        world.accounts.keys.create(**({"name": "x", "scopes": ["read"], "owner": "me"} | wrong))
    assert world.accounts.keys.all() == []


def test_no_secret_is_in_the_database(world: World):
    key, key_id = world.key()
    new = world.accounts.keys.rotate(key_id, by="tests")
    world.user()
    token = world.token()
    with world.database.engine.connect() as connection:
        everything = ""
        for table in ("api_keys", "users", "audit", "sessions", "attempts"):
            everything += repr(connection.exec_driver_sql(f"SELECT * FROM {table}").fetchall())
    for secret in (key[16:], new[16:], PASSWORD, token.rsplit(".", 1)[1]):
        assert secret not in everything


def test_what_is_no_good_key_is_refused_in_the_same_words(world: World):
    key, key_id = world.key()
    other, _ = world.key("admin")
    guard = world.guard()
    wrong = [
        "",
        "pk_",
        key[:-1],
        key + "A",
        key[:-1] + ("A" if key[-1] != "A" else "B"),
        key.upper(),
        key.replace("pk_", "sk_"),
        f"pk_{key_id}_{other[16:]}",
        f"pk_{secrets.token_hex(6)}_{key[16:]}",
        f"pk_{key_id}_{'é' * 43}",
        f"pk_{key_id[:11]}_{key[16:]}",
        f"{key}\x00",
        f"pk_{key_id}\x00{key[16:]}",
        "A" * 5000,
        "' OR 1=1 --",
        "a.b.c",
    ]
    words = set()
    for credential in wrong:
        with pytest.raises(Unauthenticated) as error:
            guard.authenticate(bearer(credential))
        words.add(str(error.value))
        assert key[16:30] not in str(error.value)
    for header in (b"Basic " + key.encode(), key.encode(), b"Bearer", b"\xff\xfe", b"Bearer\t" + key.encode()):
        with pytest.raises(Unauthenticated) as error:
            guard.authenticate(header)
        words.add(str(error.value))
    assert len(words) == 1
    assert not refused(guard, key)


@given(st.binary(max_size=80) | st.from_regex(rb"pk_[0-9a-f]{10,13}_[A-Za-z0-9_-]{40,45}\n?"))
def test_whatever_is_sent_is_a_key_by_its_whole_form_or_none(shown: bytes):
    found = split(shown)
    if found is not None:
        assert len(shown) == 59
        assert shown[3:15] == found[0].encode()


def test_an_expired_key_is_refused(world: World):
    key, key_id = world.key(lifetime=timedelta(hours=1))
    guard = world.guard()
    assert not refused(guard, key)
    world.clock.move(minutes=61)
    assert refused(guard, key)
    with pytest.raises(Conflict, match="expired"):
        world.accounts.keys.rotate(key_id, by="tests")


def test_a_key_revoked_by_one_service_is_refused_by_all_within_a_second(world: World):
    key, key_id = world.key()
    one, two = world.guard(), world.guard()
    assert not refused(one, key)
    assert not refused(two, key)
    world.accounts.keys.revoke(key_id, by="tests")
    until(lambda: refused(one, key) and refused(two, key))
    for again in (world.accounts.keys.revoke, world.accounts.keys.rotate):
        for missing in (key_id, "0" * 12, "", "x\x00", "é" * 500):
            with pytest.raises(NotFound):
                again(missing, by="tests")


def test_a_new_key_is_known_by_all_within_a_second(world: World):
    guard = world.guard()
    key, _ = world.key()
    until(lambda: not refused(guard, key))


def test_rotation_keeps_the_old_secret_for_a_while_and_no_older_one(world: World):
    first, key_id = world.key()
    second = world.accounts.keys.rotate(key_id, by="tests", grace=timedelta(hours=1))
    guard = world.guard()
    assert not refused(guard, first)
    assert not refused(guard, second)
    world.clock.move(minutes=61)
    assert refused(guard, first)
    assert not refused(guard, second)
    third = world.accounts.keys.rotate(key_id, by="tests", grace=timedelta(0))
    guard.refresh()
    assert refused(guard, second), "without grace the old one is no good at once"
    assert not refused(guard, third)
    for grace in (timedelta(seconds=-1), timedelta(days=8)):
        with pytest.raises(InvalidRequest, match="grace"):
            world.accounts.keys.rotate(key_id, by="tests", grace=grace)


def test_when_a_key_was_last_used_is_noted_and_not_while_somebody_waits(world: World):
    key, _ = world.key()
    guard = world.guard()
    guard.authenticate(bearer(key))
    assert world.accounts.keys.all()[0]["last_used_at"] is None
    guard.close()
    noted = world.accounts.keys.all()[0]["last_used_at"]
    assert abs(noted - world.clock.now()) < timedelta(seconds=10)


def test_every_scope_is_documented():
    page = (Path(__file__).parents[3] / "docs/security.md").read_text()
    for scope in SCOPES:
        assert f"| `{scope}` |" in page
