"""Links for new passwords: good once, for a while, for one user, and not to be guessed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import pytest

from core.auth import Accounts
from core.auth.resets import Resets
from core.errors import ConfigError, Conflict, Forbidden, InvalidRequest, NotFound, PunctualError, Unauthenticated
from core.settings import Settings
from tests.core.auth.conftest import HERE, PASSWORD, THERE, World, refused, until
from tests.core.auth.test_users import together

NEW = "another long sentence"
FORGED = f"pr_{'0' * 12}_{'A' * 43}"


@pytest.fixture(autouse=True)
def _people(world: World) -> None:
    world.user("ada", "admin")
    world.user("bo")
    world.accounts.users.set_email("bo", "Bo@Example.org", by="ada")


def issued(world: World, name: str = "bo") -> str:
    """Return what a link of an administrator's holds behind its #."""
    return str(world.accounts.resets.issue(name, by="ada")["link"]).partition("#")[2]


def use(world: World, token: str, password: str = NEW, address: str = THERE) -> str:
    return world.accounts.resets.use(token, password, address)


def no_good(world: World, token: str, address: str = THERE) -> str:
    with pytest.raises(Forbidden) as error:
        use(world, token, address=address)
    return str(error.value)


def test_a_link_sets_a_password_and_ends_all_sessions(world: World):
    guard, before = world.guard(), world.token()
    link = world.accounts.resets.issue("bo", by="ada")["link"]
    assert re.fullmatch(r"http://127\.0\.0\.1:8501/reset#pr_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", link)
    assert not refused(guard, before), "a link that is not used changes nothing"
    assert use(world, link.partition("#")[2]) == "bo"
    until(lambda: refused(guard, before))
    assert world.log_in("bo", NEW)["must_change"] is False
    with pytest.raises(Unauthenticated):
        world.log_in("bo", PASSWORD)


def test_a_link_is_kept_as_a_hash_and_its_secret_is_in_no_record(world: World):
    token = issued(world)
    use(world, token)
    secret = token[16:]
    with world.database.engine.connect() as connection:
        for table in ("reset_links", "audit"):
            assert secret not in str(connection.exec_driver_sql(f"SELECT * FROM {table}").all())
    acts = [(r["actor"], r["action"], r["target"], r["outcome"]) for r in world.accounts.audit_log(limit=2)]
    assert acts == [("bo", "password set by link", "bo", "done"), ("ada", "reset link made", "bo", "done")]


CHANGES: dict[str, Callable[[Accounts], object]] = {
    "password": lambda a: a.sessions.change_password("bo", PASSWORD, NEW + " more", HERE),
    "reset": lambda a: a.users.reset("bo", by="ada"),
    "newer link": lambda a: a.resets.issue("bo", by="ada"),
    "mailed link": lambda a: a.resets.ask("bo", HERE),
    "role": lambda a: a.users.set_role("bo", "admin", by="ada"),
    "address": lambda a: a.users.set_email("bo", "elsewhere@example.org", by="ada"),
    "disable": lambda a: a.users.disable("bo", by="ada"),
    "disable and enable": lambda a: (a.users.disable("bo", by="ada"), a.users.enable("bo", by="ada")),
    "remove": lambda a: a.users.remove("bo", by="ada"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_a_user_ends_their_link(world: World, change: str):
    token = issued(world)
    CHANGES[change](world.accounts)
    no_good(world, token)


def test_links_that_are_no_good_are_refused_in_the_same_words(world: World):
    said = {no_good(world, FORGED, f"10.3.0.{n}") for n in range(1)}
    token = issued(world)
    other = issued(world, "ada")
    mixed = token[:16] + other[16:]  # the number of one, the secret of another
    for n, spoiled in enumerate(
        (mixed, token[:-1], token + "x", token.upper(), "", "pr_", "\x00", "\ud800", "é" * 150)
    ):
        said.add(no_good(world, spoiled, f"10.3.1.{n}"))
    assert use(world, token) == "bo"
    said.add(no_good(world, token, "10.3.2.1"))
    world.clock.move(minutes=59)
    token = issued(world)
    world.clock.move(minutes=59)
    assert use(world, token) == "bo"
    token = issued(world)
    world.clock.move(minutes=61)
    said.add(no_good(world, token, "10.3.3.1"))
    assert len(said) == 1
    assert world.log_in("bo", NEW)["user"] == "bo", "and none of that changed anything"


def test_a_link_used_twice_at_once_is_used_once(world: World):
    token = issued(world)
    outcomes = together(*(lambda n=n: use(world, token, f"{NEW} {n}", f"10.4.0.{n}") for n in range(6)))
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [Forbidden] * 5


def test_a_weak_password_is_told_and_the_link_stays_good(world: World):
    token = issued(world)
    for weak in ("short", "aaaaaaaaaaaaaa", "x" * 1025):
        with pytest.raises(InvalidRequest):
            use(world, token, weak)
    assert use(world, token) == "bo"


def test_guesses_lock_out_an_address_and_then_a_link(world: World):
    token = issued(world)
    world.clock.stand()
    for _ in range(25):
        no_good(world, f"pr_{secrets.token_hex(6)}_{'A' * 43}", HERE)
    no_good(world, token, HERE)  # the right one: too many tries
    assert use(world, token, address=THERE) == "bo", "somebody else's guesses are not theirs"
    token = issued(world)
    for n in range(60):
        no_good(world, token[:16] + "A" * 43, f"10.5.{n}.1")
    no_good(world, token, "10.5.99.1")


def test_links_are_for_people_who_are_there_and_may_log_in(world: World):
    with pytest.raises(NotFound):
        world.accounts.resets.issue("nobody", by="ada")
    world.accounts.users.disable("bo", by="ada")
    with pytest.raises(Conflict, match="disabled"):
        world.accounts.resets.issue("bo", by="ada")
    assert world.accounts.resets.ask("bo", HERE) is None


@pytest.mark.parametrize("typed", ["bo", "bo@example.org", "BO@EXAMPLE.ORG"])
def test_who_asks_gets_a_letter_at_the_address_that_is_kept(world: World, typed: str):
    letter = world.accounts.resets.ask(typed, THERE)
    assert letter is not None
    assert letter.to == "bo@example.org"
    token = re.search(r"http://127\.0\.0\.1:8501/reset#(pr_\S+)", letter.text)
    assert token is not None
    assert use(world, token[1]) == "bo"
    newest = world.accounts.audit_log(action="reset link asked for")[0]
    assert (newest["target"], newest["outcome"], newest["address"]) == ("bo", "done", THERE)


@pytest.mark.parametrize("typed", ["nobody", "ada", "nobody@example.org", "", "\x00", "\ud800", "a" * 10_000, "*", "%"])
def test_nobody_else_gets_one(world: World, typed: str):
    assert world.accounts.resets.ask(typed, THERE) is None
    newest = world.accounts.audit_log(action="reset link asked for")[0]
    assert newest["outcome"] == "refused"
    assert newest["target"] in ("unknown user", "ada"), "what was typed may be a password: it is not kept"


def test_asking_again_and_again_fills_no_inbox(world: World):
    world.clock.stand()
    letters = [world.accounts.resets.ask("bo", f"10.6.0.{n}") for n in range(12)]
    assert [letter is not None for letter in letters] == [True] * 3 + [False] * 9
    world.clock.move(seconds=61)
    assert world.accounts.resets.ask("bo", "10.6.1.1") is not None
    assert world.accounts.resets.ask("bo", "10.6.1.2") is None
    assert world.log_in()["user"] == "bo", "and nobody is kept from logging in by it"


def test_without_a_mail_server_no_link_is_made(world: World):
    token = issued(world)
    assert world.accounts.resets.ask("bo", THERE, mailed=False) is None
    assert use(world, token) == "bo", "the administrator's is as good as before"


@pytest.mark.parametrize(
    "address",
    ["x", "a@b@c", "a b@c.org", "a@c.org, d@e.org", "<a@c.org>", "a@c.org\nbcc: d@e.org", "é@c.org", "a" * 255 + "@c"],
)
def test_what_is_no_address_is_refused(world: World, address: str):
    with pytest.raises(InvalidRequest, match="mail address"):
        world.accounts.users.set_email("bo", address, by="ada")


def test_an_address_stands_for_one_user(world: World):
    with pytest.raises(Conflict, match="Another user"):
        world.accounts.users.set_email("ada", "bo@example.ORG", by="ada")
    with pytest.raises(Conflict, match="Another user"):
        world.accounts.users.add("cy", by="ada", email="bo@example.org")
    world.accounts.users.set_email("bo", None, by="ada")
    world.accounts.users.add("cy", by="ada", email="bo@example.org")
    assert {u["name"]: u["email"] for u in world.accounts.users.all()} == {
        "ada": None,
        "bo": None,
        "cy": "bo@example.org",
    }


def test_links_lead_to_where_the_settings_say(world: World):
    def made(**settings: str) -> str:
        resets = Resets(world.database, world.accounts.users, Settings(**settings), world.clock)
        return str(resets.issue("bo", by="ada")["link"]).partition("#")[0]

    assert made(dashboard_url="https://punctual.example.org/") == "https://punctual.example.org/reset"
    assert made(dashboard_url="https://example.org/ml") == "https://example.org/ml/reset"
    assert made(host="0.0.0.0") == "http://127.0.0.1:8501/reset"
    for wrong in ("punctual.example.org", "ftp://x", "https://x/?a=b", "https://x/#a", "javascript:alert(1)"):
        with pytest.raises(ConfigError, match="PUNCTUAL_DASHBOARD_URL"):
            made(dashboard_url=wrong)


def test_errors_never_repeat_the_secret(world: World):
    token = issued(world)
    for deed in (lambda: use(world, token, "short"), lambda: use(world, token[:-1])):
        with pytest.raises(PunctualError) as error:
            deed()
        assert token[16:-1] not in str(error.value)
