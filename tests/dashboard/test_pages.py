"""Pages as Streamlit runs them, without a browser: the accounts are real, the other services are away."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from core.errors import Forbidden
from dashboard.app import SCRIPT
from dashboard.pages import PAGES, offered
from dashboard.parts import current
from dashboard.services import Caller, Services
from tests.core.auth.conftest import HERE, PASSWORD, until
from tests.dashboard.conftest import Accounting

_PATIENCE = 20


class Tab:
    """A browser tab of somebody who is logged in, or of nobody."""

    def __init__(self, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        self._services, self._monkeypatch = services, monkeypatch
        self.cookie: str | None = None

    def log_in(self, user: str) -> Caller:
        self.cookie = self._services.sessions.log_in(user, PASSWORD, HERE)
        session = self._services.sessions.find(self.cookie)
        assert session is not None
        return Caller(self._services, session)

    def open(self, page: str = "") -> AppTest:
        self._monkeypatch.setattr(current, "cookie", lambda: self.cookie)
        app = AppTest.from_file(str(SCRIPT), default_timeout=_PATIENCE).run()
        if page:
            assert page in {one.path for one in PAGES}
            app._page_hash = calc_hash(page)
            app.run()
        assert not app.exception, app.exception
        return app


@pytest.fixture
def tab(dashboard_services: Services, monkeypatch: pytest.MonkeyPatch) -> Tab:
    return Tab(dashboard_services, monkeypatch)


def text(app: AppTest) -> str:
    parts = [*app.title, *app.header, *app.subheader, *app.markdown, *app.caption]
    return " ".join(str(part.value) for part in [*parts, *app.warning, *app.info, *app.error, *app.success])


def test_users_are_offered_what_is_theirs_and_administrators_all(tab: Tab, world: Accounting):
    tab.log_in(world.user("bo"))
    session = tab._services.sessions.find(tab.cookie)
    assert session is not None
    assert [page.title for page in offered(session)] == ["Predict", "Analytics"]
    tab.log_in(world.user("ada", "admin"))
    session = tab._services.sessions.find(tab.cookie)
    assert session is not None
    assert offered(session) == list(PAGES)


def test_hiding_a_page_is_not_what_keeps_users_out(tab: Tab, world: Accounting):
    caller = tab.log_in(world.user("bo"))
    for method, path, body in (
        ("GET", "/users", None),
        ("POST", "/users", {"name": "eve", "role": "admin"}),
        ("GET", "/audit", None),
        ("POST", "/keys", {"name": "k", "scopes": ["admin"]}),
    ):
        with pytest.raises(Forbidden):
            caller.call("data", method, path, json=body)
    tab.open("users")
    assert not world.accounts.users.exists("eve")


def test_a_tab_whose_session_is_over_shows_nothing_of_anybody(tab: Tab, world: Accounting):
    app = tab.open()
    assert "session is over" in text(app)
    tab.log_in(world.user("ada", "admin"))
    app = tab.open("users")
    assert "Add a user" in text(app)
    tab._services.sessions.log_out(tab.cookie)
    app.run()
    assert "session is over" in text(app)
    assert not app.dataframe
    assert "Add a user" not in text(app)


def test_a_service_that_is_down_takes_its_part_with_it_and_no_more(tab: Tab, world: Accounting):
    tab.log_in(world.user("bo"))
    app = tab.open()
    assert app.title[0].value == "Predict"
    assert "prediction service is down" in text(app)
    assert "monitoring service is down" in text(app)
    assert "What you asked" in text(app), "the rest of the page is there"


def test_an_administrator_adds_changes_and_removes_a_user(tab: Tab, world: Accounting):
    tab.log_in(world.user("ada", "admin"))
    if world.accounts.users.exists("cy"):
        world.accounts.users.remove("cy", by="tests")
    app = tab.open("users")
    named(app.text_input, "Name").set_value("Not A Name!")
    named(app.button, "Add").click().run()
    assert "pattern" in text(app) or "name" in text(app).lower()
    assert not world.accounts.users.exists("not a name!")
    named(app.text_input, "Name").set_value("cy")
    named(app.button, "Add").click().run()
    assert world.accounts.users.exists("cy")
    secret = app.code[0].value
    assert world.accounts.users.verify("cy", secret) is not None, "the password is shown, once"
    named(app.button, "I have it").click().run()
    assert not app.code
    named(app.selectbox, "User").set_value("cy").run()
    named(app.button, "Make cy admin").click().run()
    assert {u["name"]: u["role"] for u in world.accounts.users.all()}["cy"] == "admin"
    named(app.text_input, "New mail address").set_value("Cy@example.org")
    named(app.button, "Change the address of cy").click().run()
    assert {u["name"]: u["email"] for u in world.accounts.users.all()}["cy"] == "cy@example.org"
    named(app.button, "Make a link for cy").click().run()
    link = app.code[0].value
    assert world.accounts.resets.use(link.partition("#")[2], PASSWORD, HERE) == "cy"
    named(app.button, "I have it").click().run()
    named(app.button, "Disable cy").click().run()
    assert {u["name"]: u["disabled"] for u in world.accounts.users.all()}["cy"] is True
    named(app.button, "Enable cy").click().run()
    assert {u["name"]: u["disabled"] for u in world.accounts.users.all()}["cy"] is False
    named(app.button, "Remove cy").click().run()
    assert not world.accounts.users.exists("cy")
    actions = [r["action"] for r in world.accounts.audit_log(actor="ada", limit=20)]
    assert {"user added", "role changed", "user disabled", "user enabled", "user removed"} <= set(actions)


def test_a_key_is_issued_rotated_and_revoked(tab: Tab, world: Accounting):
    tab.log_in(world.user("ada", "admin"))
    app = tab.open("api-keys")
    named(app.text_input, "What it is for").set_value("the app")
    named(app.button, "Issue").click().run()
    first = app.code[0].value
    assert first.startswith("pk_")
    key_id = first.split("_")[1]
    named(app.button, "I have it").click().run()
    named(app.selectbox, "Key").set_value(f"the app ({key_id})").run()
    named(app.button, "Make a new secret").click().run()
    assert app.code[0].value != first
    named(app.button, "Revoke the app").click().run()
    found = next(key for key in world.accounts.keys.all() if key["id"] == key_id)
    assert found["revoked_at"] is not None


def test_the_audit_log_can_be_asked_by_who_and_what(tab: Tab, world: Accounting):
    tab.log_in(world.user("ada", "admin"))
    world.user("someone-else")
    app = tab.open("audit-log")
    named(app.text_input, "Who").set_value("ada").run()
    named(app.text_input, "What").set_value("log in").run()
    shown = app.dataframe[0].value
    assert len(shown)
    assert set(shown["actor"]) == {"ada"}
    assert set(shown["action"]) == {"log in"}
    named(app.text_input, "Filter").set_value("nothing like it").run()
    assert len(app.dataframe[0].value) == 0


def test_a_session_that_ends_between_two_clicks_ends_the_page(tab: Tab, world: Accounting):
    caller = tab.log_in(world.user("ada", "admin"))
    app = tab.open("users")
    world.accounts.users.reset("ada", by="tests")

    def refused() -> bool:
        try:
            caller.get("data", "/auth/me")
        except Exception:  # noqa: BLE001 - whatever it is called
            return True
        return False

    until(refused, 3)
    app.run()
    assert "session is over" in text(app) or "Add a user" not in text(app)


def named(elements: object, label: str) -> object:
    """Return the one element of a kind that has a label."""
    found = [one for one in elements if one.label == label]  # type: ignore[attr-defined]
    assert len(found) == 1, [one.label for one in elements]  # type: ignore[attr-defined]
    return found[0]
