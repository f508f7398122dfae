"""Sessions of the dashboard against real accounts: they last while somebody is at work, and end when told to."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from core.errors import Forbidden, PunctualError, Unauthenticated
from core.http import HttpClient
from core.settings import Settings
from dashboard import session as module
from dashboard.services import Services
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


class Hung:
    """A server that takes connections, and never says a word.

    Attributes
    ----------
    port : int
        Where it listens.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._taken = ExitStack()

    def asked(self) -> int:
        """Return how many connections have been made since the last look."""
        count = 0
        self._socket.settimeout(0)
        while True:
            try:
                self._taken.enter_context(self._socket.accept()[0])
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        self._taken.close()
        self._socket.close()


@pytest.fixture
def hung() -> Iterator[Hung]:
    made = Hung()
    yield made
    made.close()


@pytest.mark.parametrize("minutes", [0, 20])  # half of a token's time is over after 15: it is to be exchanged then
def test_a_data_service_that_hangs_keeps_no_page_waiting(
    world: Accounting, hung: Hung, monkeypatch: pytest.MonkeyPatch, minutes: int
):
    monkeypatch.setattr(module, "_CHECKED_SECONDS", 60.0)
    services = Services(Settings(data_url=f"http://127.0.0.1:{hung.port}"))
    try:
        sessions, known = services.sessions, world.sessions()
        cookie = known.log_in(world.user("bo"), PASSWORD, HERE)
        sessions._by_digest, sessions._clock = known._by_digest, world.clock
        sessions.find(cookie).checked = float("-inf")  # type: ignore[union-attr]
        world.clock.move(minutes=minutes)
        start = time.monotonic()
        assert sessions.check(cookie, active=True).user == "bo"  # type: ignore[union-attr]
        assert time.monotonic() - start < 1
        assert hung.asked() == 1
        for _ in range(20):  # looks at a page, within a second
            assert sessions.check(cookie, active=True) is not None
        assert hung.asked() == 0, "what was asked just now is not asked again, though there was no answer"
        monkeypatch.setattr(module, "_CHECKED_SECONDS", 0.0)
        services.board.look()
        assert services.board["data"].state == "down"
        hung.asked()
        assert sessions.check(cookie, active=True) is not None
        assert hung.asked() == 0, "nobody waits for a service that is known to be down"
    finally:
        services.close()


def test_a_session_that_another_tab_asks_about_keeps_no_page_waiting(world: Accounting):
    sessions = world.sessions()
    cookie = sessions.log_in(world.user("bo"), PASSWORD, HERE)
    session = sessions.find(cookie)
    assert session is not None
    with session.lock:
        start = time.monotonic()
        assert sessions.check(cookie) is session
        assert time.monotonic() - start < 1
    assert sessions.check(cookie) is session


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
