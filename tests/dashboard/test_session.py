"""Sessions of the dashboard against real accounts: they last while somebody is at work, and end when told to."""

from __future__ import annotations

import pytest

from core.errors import Forbidden, PunctualError, Unauthenticated
from core.http import HttpClient
from dashboard import session as module
from dashboard.session import Sessions
from tests.core.auth.conftest import HERE, PASSWORD, WRONG
from tests.dashboard.conftest import Accounting


@pytest.fixture(autouse=True)
def _always_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHECKED_SECONDS", 0.0)


def name_of(world: Accounting, token: str) -> str:
    answer = world.http.showing(token).call("GET", "/auth/me")
    return str(answer.json()["name"])


def good(world: Accounting, token: str) -> bool:
    try:
        return bool(name_of(world, token))
    except Unauthenticated:
        return False


def test_a_log_in_gives_a_cookie_that_is_no_token(world: Accounting):
    sessions = world.sessions()
    cookie = sessions.log_in(world.user("bo"), PASSWORD, HERE)
    found = sessions.check(cookie)
    assert found is not None
    assert (found.user, found.role, found.must_change, found.is_admin) == ("bo", "user", False, False)
    assert name_of(world, found.token) == "bo"
    assert found.token not in cookie
    assert cookie not in found.token
    assert cookie not in str(vars(sessions)), "what is kept must not be what opens the door"


@pytest.mark.parametrize("cookie", [None, "", "x", "\udcff", "a" * 5000])
def test_a_cookie_of_nobody_is_nobody(world: Accounting, cookie: str | None):
    sessions = world.sessions()
    sessions.log_in(world.user("bo"), PASSWORD, HERE)
    assert sessions.find(cookie) is None
    assert sessions.check(cookie, active=True) is None


def test_a_wrong_password_starts_nothing_and_is_counted_where_the_browser_is(world: Accounting):
    sessions = world.sessions()
    with pytest.raises(Unauthenticated):
        sessions.log_in(world.user("bo"), WRONG, "10.9.8.7")
    assert len(sessions) == 0
    newest = world.accounts.audit_log(actor="bo", action="log in", limit=1)[0]
    assert (newest["outcome"], newest["address"]) == ("refused", "10.9.8.7")


def test_a_log_out_ends_the_session_at_the_services_too(world: Accounting):
    sessions = world.sessions()
    cookie = sessions.log_in(world.user("bo"), PASSWORD, HERE)
    token = sessions.find(cookie).token  # type: ignore[union-attr]
    sessions.log_out(cookie)
    assert sessions.find(cookie) is None
    assert not good(world, token)
    sessions.log_out(cookie)  # a second time does no harm
    sessions.log_out(None)


def test_a_session_that_the_service_ended_is_over_here(world: Accounting):
    sessions = world.sessions()
    cookie = sessions.log_in(world.user("bo"), PASSWORD, HERE)
    other = sessions.log_in("bo", PASSWORD, HERE)
    world.accounts.sessions.end(_session_id(world, sessions, cookie))
    _wait_for_the_guard(world, sessions, cookie)
    assert sessions.check(cookie) is None
    assert sessions.check(other) is not None, "another session of theirs goes on"
    world.accounts.users.reset("bo", by="tests")
    _wait_for_the_guard(world, sessions, other)
    assert sessions.check(other) is None


def test_who_is_at_work_stays_and_who_is_not_goes(world: Accounting):
    sessions = world.sessions()
    cookie = sessions.log_in(world.user("bo"), PASSWORD, HERE)
    first = sessions.find(cookie).token  # type: ignore[union-attr]
    world.clock.move(minutes=14)
    assert sessions.check(cookie, active=True).token == first  # type: ignore[union-attr]
    world.clock.move(minutes=2)  # beyond half of its life
    assert sessions.check(cookie).token == first, "a page that looks after itself keeps nobody"  # type: ignore[union-attr]
    second = sessions.check(cookie, active=True).token  # type: ignore[union-attr]
    assert second != first
    assert not good(world, first)
    assert good(world, second)
    world.clock.move(minutes=31)
    assert sessions.check(cookie, active=True) is None
    assert len(sessions) == 0


def test_while_the_accounts_are_away_a_session_goes_on_until_its_token_ends(world: Accounting):
    sessions = world.sessions()
    cookie = sessions.log_in(world.user("bo"), PASSWORD, HERE)
    away = Sessions(HttpClient("http://127.0.0.1:1", "data"), world.clock)
    away._by_digest = sessions._by_digest
    assert away.check(cookie) is not None
    world.clock.move(minutes=20)
    assert away.check(cookie, active=True) is not None
    world.clock.move(minutes=11)
    assert away.check(cookie, active=True) is None
    with pytest.raises(PunctualError):
        away.log_in("bo", PASSWORD, HERE)


def test_a_new_password_ends_all_sessions_and_starts_one(world: Accounting):
    sessions = world.sessions()
    cookie, other = (sessions.log_in(world.user("bo") if i == 0 else "bo", PASSWORD, HERE) for i in range(2))
    with pytest.raises(Forbidden):
        sessions.change_password(cookie, WRONG, "another long sentence", HERE)
    newer = sessions.change_password(cookie, PASSWORD, "another long sentence", HERE)
    assert sessions.find(cookie) is None
    _wait_for_the_guard(world, sessions, other)
    assert sessions.check(other) is None
    assert sessions.check(newer).user == "bo"  # type: ignore[union-attr]


def test_a_made_up_password_must_be_changed_first(world: Accounting):
    sessions = world.sessions()
    world.user("bo")
    cookie = sessions.log_in("bo", world.accounts.users.reset("bo", by="tests"), HERE)
    found = sessions.find(cookie)
    assert found is not None
    assert found.must_change
    assert not found.is_admin


def test_sessions_that_are_over_are_not_kept_for_ever(world: Accounting, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_MOST", 2)
    sessions = world.sessions()
    world.user("bo")
    cookies = [sessions.log_in("bo", PASSWORD, HERE) for _ in range(3)]
    assert [sessions.find(c) is not None for c in cookies] == [False, True, True]
    world.clock.move(minutes=31)
    sessions.log_in("bo", PASSWORD, HERE)
    assert len(sessions) == 1


def _session_id(world: Accounting, sessions: Sessions, cookie: str) -> str:
    import jwt

    token = sessions.find(cookie).token  # type: ignore[union-attr]
    return str(jwt.decode(token, options={"verify_signature": False})["sid"])


def _wait_for_the_guard(world: Accounting, sessions: Sessions, cookie: str) -> None:
    """Wait until the service has heard of what was changed in its database behind its back: half a second."""
    from tests.core.auth.conftest import until

    token = sessions.find(cookie).token  # type: ignore[union-attr]
    until(lambda: not good(world, token), 3)
