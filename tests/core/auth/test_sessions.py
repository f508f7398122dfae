"""Sessions and their tokens: good everywhere at once, ended everywhere within a second, and not to be forged."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest

from core.auth import Accounts
from core.auth.sessions import LONGEST
from core.errors import ConfigError, Unauthenticated
from core.settings import Settings
from tests.core.auth.conftest import HERE, PASSWORD, World, bearer, refused, until


def test_a_session_is_good_at_once_and_everywhere(world: World):
    one, two = world.guard(), world.guard()
    token = world.token()
    for guard in (one, two):
        caller = guard.authenticate(bearer(token))
        assert (caller.name, caller.kind, caller.owner) == ("bo", "session", "bo")
        assert caller.scopes == {"predict", "read", "self"}


def test_a_session_that_ended_is_refused_everywhere_within_a_second(world: World):
    one, two = world.guard(), world.guard()
    token = world.token()
    world.accounts.sessions.end(one.authenticate(bearer(token)).id)
    until(lambda: refused(one, token) and refused(two, token))
    with pytest.raises(Unauthenticated):
        world.accounts.sessions.refresh(token)


CHANGES: dict[str, Callable[[Accounts], object]] = {
    "password": lambda a: a.sessions.change_password("bo", PASSWORD, "another long sentence", HERE),
    "reset": lambda a: a.users.reset("bo", by="ada"),
    "role": lambda a: a.users.set_role("bo", "admin", by="ada"),
    "disable": lambda a: a.users.disable("bo", by="ada"),
    "remove": lambda a: a.users.remove("bo", by="ada"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_a_user_ends_their_sessions(world: World, change: str):
    token = world.token()
    guard = world.guard()
    assert not refused(guard, token)
    CHANGES[change](world.accounts)
    until(lambda: refused(guard, token))
    with pytest.raises(Unauthenticated):
        world.accounts.sessions.refresh(token)


def test_a_token_ends_and_can_be_exchanged_before(world: World):
    token = world.token()
    guard = world.guard()
    world.clock.move(minutes=29)
    newer = world.accounts.sessions.refresh(token)["token"]
    world.clock.move(minutes=29)
    assert not refused(guard, newer)
    assert refused(guard, token)
    world.clock.move(minutes=2)
    assert refused(guard, newer)
    with pytest.raises(Unauthenticated):
        world.accounts.sessions.refresh(newer)


def test_a_session_does_not_last_for_ever_however_often_it_is_refreshed(world: World):
    token = world.token()
    start = world.clock.now()
    with pytest.raises(Unauthenticated):
        for _ in range(100):
            world.clock.move(minutes=25)
            token = world.accounts.sessions.refresh(token)["token"]
    assert world.clock.now() - start < LONGEST + timedelta(minutes=26)


def test_an_exchanged_token_that_turns_up_again_ends_the_session(world: World):
    guard = world.guard()
    token = world.token()
    newer = str(world.accounts.sessions.refresh(token)["token"])
    assert not refused(guard, newer)
    until(lambda: refused(guard, token))
    with pytest.raises(Unauthenticated):
        world.accounts.sessions.refresh(token)
    until(lambda: refused(guard, newer))
    with pytest.raises(Unauthenticated):
        world.accounts.sessions.refresh(newer)
    (record,) = world.accounts.audit_log(action="session revoked")
    assert record["detail"] == {"why": "an old token was shown"}


def test_with_a_made_up_password_one_can_only_change_it(world: World):
    password = world.user("bo", "admin", None)
    token = str(world.log_in("bo", password)["token"])
    guard = world.guard()
    assert guard.authenticate(bearer(token)).scopes == {"self"}
    assert not guard.authenticate(bearer(token)).may("read")
    token = str(world.accounts.sessions.change_password("bo", password, PASSWORD, HERE)["token"])
    assert guard.authenticate(bearer(token)).scopes == {"admin", "self"}


def test_a_role_is_that_of_the_database_not_of_the_token(world: World):
    world.user("ada", "admin")
    world.user("bo", "admin")
    token = world.token("bo")
    world.accounts.users.set_role("bo", "user", by="ada")
    guard = world.guard()
    assert refused(guard, token)
    assert guard.authenticate(bearer(world.token("bo"))).scopes == {"predict", "read", "self"}


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    return f"{parts[0]}.{parts[1]}."


def test_forged_tokens_are_refused(world: World):
    token = world.token()
    guard = world.guard()
    claims = jwt.decode(token, options={"verify_signature": False})
    mighty = claims | {"role": "admin", "at": claims["at"] + 1000}
    head, body, signature = token.split(".")
    forged = [
        *(unsigned({"alg": alg, "typ": "JWT"}, mighty) for alg in ("none", "None", "NONE", "HS256", "RS256")),
        unsigned({"alg": "HS256", "jwk": {"kty": "oct", "k": "AA"}}, mighty) + "AA",
        jwt.encode(mighty, "x" * 40, algorithm="HS256"),
        jwt.encode(mighty, "x" * 70, algorithm="HS512"),
        unsigned({"alg": "HS256"}, mighty) + signature,
        head + "." + unsigned({}, mighty).split(".")[1] + "." + signature,
        token[:-2],
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{signature}.{body}.{head}",
        token.swapcase(),
        token + "." + signature,
        "é" * 40,
        "." * 1000,
        "[" * 2000,
    ]
    for credential in forged:
        assert refused(guard, credential), credential
        with pytest.raises(Unauthenticated):
            world.accounts.sessions.refresh(credential)
    assert not refused(guard, token)


def test_a_token_signed_for_something_else_is_refused(world: World):
    token = world.token()
    key = (world.layout.secrets / "session.key").read_text()
    claims = jwt.decode(token, options={"verify_signature": False})
    guard = world.guard()
    assert not refused(guard, jwt.encode(claims, key, algorithm="HS256"))
    strange = {"exp": "soon", "at": "now", "sid": None, "jti": ["x"], "sub": 7}
    for change in [{"aud": "other"}, {"iss": "other"}, {"exp": 1}, {"sid": "0" * 32}, {"jti": "0" * 32}] + [
        {name: value} for name, value in strange.items()
    ]:
        if "sub" not in change:  # of a live session, the database says whose it is
            assert refused(guard, jwt.encode(claims | change, key, algorithm="HS256")), change
    for lacking in claims:
        if lacking != "chg":
            partial = {k: v for k, v in claims.items() if k != lacking}
            assert refused(guard, jwt.encode(partial, key, algorithm="HS256")), lacking
    for algorithm in ("HS384", "HS512"):
        assert refused(guard, jwt.encode(claims, key, algorithm=algorithm))


def test_the_secret_is_this_machine_s_or_the_configured_one(world: World):
    path = world.layout.secrets / "session.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ConfigError, match="32") as error:
        Accounts(world.database, Settings(secret_key="too short a secret"), world.layout)
    assert "too short" not in str(error.value)
    token = world.token()
    other = Accounts(world.database, Settings(secret_key="z" * 40), world.layout)
    with pytest.raises(Unauthenticated):
        other.sessions.refresh(token)
