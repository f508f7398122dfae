"""ID tokens as the data service takes them: from a real provider, and from everybody who would like to be one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.auth import Accounts
from core.clock import epoch_seconds
from core.errors import ConfigError, NotFound, ServiceUnavailable, Unauthenticated
from core.settings import Settings
from tests.core.auth.conftest import HERE, World, bearer
from tests.core.auth.test_users import together
from tests.core.oidc_provider import CLIENT, Provider

NONCE = "the nonce of this log-in"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as one:
        yield one


@pytest.fixture(autouse=True)
def _people(world: World) -> None:
    world.user("ada", "admin")
    world.user("bo")
    world.accounts.users.set_email("bo", "bo@example.org", by="ada")


def accounts(world: World, provider: Provider, **settings: Any) -> Accounts:
    chosen = Settings(database=world.url, **{"oidc_issuer": provider.issuer, "oidc_client_id": CLIENT, **settings})
    return Accounts(world.database, chosen, world.layout, world.clock)


@pytest.fixture
def ours(world: World, provider: Provider) -> Accounts:
    return accounts(world, provider)


def said(accounts: Accounts, token: str, nonce: str = NONCE) -> str:
    with pytest.raises(Unauthenticated) as error:
        accounts.oidc.log_in(token, nonce, HERE)
    return str(error.value)


def test_a_good_token_starts_a_session_of_whom_it_names(world: World, provider: Provider, ours: Accounts):
    found = ours.oidc.log_in(provider.token(NONCE, email="BO@Example.org"), NONCE, HERE)
    assert (found["user"], found["role"], found["must_change"]) == ("bo", "user", False)
    assert world.guard().authenticate(bearer(found["token"])).name == "bo"
    newest = ours.audit_log(action="log in", limit=1)[0]
    assert (newest["actor"], newest["outcome"], newest["detail"]) == ("bo", "done", {"by": "oidc"})


def test_other_kinds_of_keys_are_taken(provider: Provider, ours: Accounts):
    assert ours.oidc.log_in(provider.token(NONCE, algorithm="PS256"), NONCE, HERE)["user"] == "bo"
    curve = provider.token(NONCE, key=provider.curve, algorithm="ES256", kid="curve")
    assert ours.oidc.log_in(curve, NONCE, HERE)["user"] == "bo"


def unsigned(provider: Provider, algorithm: str) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': algorithm, 'kid': provider.kid})}.{part(provider.payload(NONCE))}."


def by_public_key(provider: Provider) -> str:
    """Return a token signed with the public key as if it were a shared secret."""
    public = provider.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    begun = unsigned(provider, "HS256").rstrip(".")
    signed = hmac.new(public, begun.encode(), hashlib.sha256).digest()
    return f"{begun}.{base64.urlsafe_b64encode(signed).rstrip(b'=').decode()}"


NOW = int(epoch_seconds())
ATTACKS: dict[str, Callable[[Provider], str]] = {
    "no signature": lambda p: unsigned(p, "none"),
    "no signature, in capitals": lambda p: unsigned(p, "NONE"),
    "a signature that is missing": lambda p: unsigned(p, "RS256"),
    "the public key as a secret": by_public_key,
    "a shared secret": lambda p: p.token(NONCE, key="a" * 64, algorithm="HS256"),
    "another key": lambda p: p.token(NONCE, key=p.other_key),
    "another key's number": lambda p: p.token(NONCE, key=p.other_key, kid="k2"),
    "a key of another kind": lambda p: p.token(NONCE, kid="curve"),
    "no number, and a choice of keys": lambda p: p.token(NONCE, key=p.other_key, kid=None),
    "another audience": lambda p: p.token(NONCE, aud="somebody else"),
    "no audience": lambda p: p.token(NONCE, aud=None),
    "several audiences, and not said for whom": lambda p: p.token(NONCE, aud=[CLIENT, "other"]),
    "several audiences, for another": lambda p: p.token(NONCE, aud=[CLIENT, "other"], azp="other"),
    "given to another": lambda p: p.token(NONCE, azp="other"),
    "another issuer": lambda p: p.token(NONCE, iss="https://evil.example"),
    "nearly the issuer": lambda p: p.token(NONCE, iss=p.issuer + "/"),
    "no issuer": lambda p: p.token(NONCE, iss=None),
    "expired": lambda p: p.token(NONCE, iat=NOW - 500, exp=NOW - 60),
    "no end": lambda p: p.token(NONCE, exp=None),
    "an end that is none": lambda p: p.token(NONCE, exp=float("nan")),
    "not yet": lambda p: p.token(NONCE, nbf=NOW + 600),
    "of the future": lambda p: p.token(NONCE, iat=NOW + 600, exp=NOW + 900),
    "of long ago": lambda p: p.token(NONCE, iat=NOW - 3600, exp=NOW + 3600),
    "another nonce": lambda p: p.token("another"),
    "no nonce": lambda p: p.token(NONCE, nonce=None),
    "no subject": lambda p: p.token(NONCE, sub=None),
    "an address that nobody has seen to": lambda p: p.token(NONCE, email_verified=False),
    "an address that nobody says was seen to": lambda p: p.token(NONCE, email_verified=None),
    "an address seen to in words": lambda p: p.token(NONCE, email_verified="true"),
    "no address": lambda p: p.token(NONCE, email=None),
    "an address that is a list": lambda p: p.token(NONCE, email=["bo@example.org"]),
    "somebody unknown": lambda p: p.token(NONCE, email="cy@example.org"),
    "a name for an address": lambda p: p.token(NONCE, email="bo"),
    "rubbish": lambda _: "rubbish",
    "dots": lambda _: "..",
    "no text": lambda _: "\x00\ud800",
    "our own kind of token": lambda _: jwt.encode({"sub": "bo"}, "k" * 64, "HS256"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_not_good_is_refused_in_the_same_words(provider: Provider, ours: Accounts, attack: str):
    assert said(ours, ATTACKS[attack](provider)) == "That identity logs nobody in here. Ask an administrator."
    newest = ours.audit_log(action="log in", limit=1)[0]
    assert (newest["actor"], newest["outcome"]) == ("unknown user", "refused")


def test_a_changed_token_is_refused(provider: Provider, ours: Accounts):
    head, body, signature = provider.token(NONCE).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "email": "ada@example.org"}).encode()).rstrip(b"=").decode()
    ours.users.set_email("ada", "ada@example.org", by="tests")
    said(ours, f"{head}.{forged}.{signature}")
    said(ours, f"{head}.{body}.{signature[:-2]}")
    assert ours.oidc.log_in(f"{head}.{body}.{signature}", NONCE, HERE)["user"] == "bo"


def test_a_token_is_good_once_also_for_two_at_once(provider: Provider, ours: Accounts):
    token = provider.token(NONCE)
    outcomes = together(*(lambda: ours.oidc.log_in(token, NONCE, HERE) for _ in range(4)))
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [Unauthenticated] * 3
    said(ours, token)
    assert ours.oidc.log_in(provider.token("another"), "another", HERE)["user"] == "bo"


def test_who_is_disabled_is_refused_in_the_same_words(provider: Provider, ours: Accounts):
    ours.users.disable("bo", by="ada")
    assert said(ours, provider.token(NONCE)) == said(ours, provider.token(NONCE, email="nobody@example.org"))
    ours.users.enable("bo", by="ada")
    assert ours.oidc.log_in(provider.token("n"), "n", HERE)["user"] == "bo"


def test_another_claim_names_a_user_by_name_and_by_nothing_else(world: World, provider: Provider):
    named = accounts(world, provider, oidc_claim="preferred_username")
    assert named.oidc.log_in(provider.token("1", preferred_username="bo"), "1", HERE)["user"] == "bo"
    for value in ("bo@example.org", "BO", "", None, 7):
        said(named, provider.token(NONCE, preferred_username=value))


def test_nobody_becomes_a_user_unless_the_settings_say_so(world: World, provider: Provider, ours: Accounts):
    said(ours, provider.token(NONCE, email="cy@example.org"))
    making = accounts(world, provider, oidc_create=True)
    found = making.oidc.log_in(provider.token("1", email="Cy@example.org"), "1", HERE)
    assert (found["user"], found["role"]) == ("cy@example.org", "user")
    again = making.oidc.log_in(provider.token("2", email="cy@example.org"), "2", HERE)
    assert again["user"] == "cy@example.org"
    making.users.add("dee@example.org", by="tests")  # a name like an address, without having that address
    for address in ("dee@example.org", "x" * 70 + "@example.org", "no address", "<b>@x"):
        said(making, provider.token(NONCE, email=address))
    named = accounts(world, provider, oidc_create=True, oidc_claim="sub")
    assert named.oidc.log_in(provider.token("3", sub="eve"), "3", HERE)["user"] == "eve"
    said(named, provider.token(NONCE, sub="../eve"))


def test_a_made_up_password_is_thrown_away_and_need_not_be_changed(world: World, provider: Provider, ours: Accounts):
    given = ours.users.reset("bo", by="ada")
    assert ours.oidc.log_in(provider.token(NONCE), NONCE, HERE)["must_change"] is False
    with pytest.raises(Unauthenticated):
        world.log_in("bo", given)


def test_keys_that_change_are_looked_for_but_not_by_every_guess(provider: Provider, ours: Accounts):
    assert ours.oidc.log_in(provider.token("1"), "1", HERE)["user"] == "bo"
    for number in range(20):
        said(ours, provider.token(NONCE, kid=f"k{number + 100}", key=provider.other_key))
    assert provider.asked.count("/jwks") <= 2
    provider.kid, provider.key = "k2", provider.other_key
    told = ours.oidc._provider._told  # type: ignore[union-attr]
    told.update({address: (at - 11, found) for address, (at, found) in told.items()})
    assert ours.oidc.log_in(provider.token("2"), "2", HERE)["user"] == "bo"


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://evil.example/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": None},
    ],
)
def test_a_provider_that_tells_strange_things_is_not_used(provider: Provider, ours: Accounts, metadata: dict[str, Any]):
    provider.metadata = metadata
    with pytest.raises(ServiceUnavailable, match="cannot be used"):
        ours.oidc.log_in(provider.token(NONCE), NONCE, HERE)


def test_a_provider_that_is_away_is_not_asked_by_everybody(world: World, provider: Provider):
    away = accounts(world, provider, oidc_issuer="http://127.0.0.1:1")
    for _ in range(3):
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            away.oidc.log_in(provider.token(NONCE), NONCE, HERE)


def test_settings_that_are_not_whole_are_named(world: World, provider: Provider):
    with pytest.raises(NotFound, match="no log-in by OIDC"):
        world.accounts.oidc.log_in(provider.token(NONCE), NONCE, HERE)
    for wrong in (
        {"oidc_client_id": None},
        {"oidc_issuer": None},
        {"oidc_issuer": "http://login.example.org"},
        {"oidc_issuer": "login.example.org"},
    ):
        with pytest.raises(ConfigError, match="PUNCTUAL_OIDC"):
            accounts(world, provider, **wrong)
