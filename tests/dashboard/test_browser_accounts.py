"""Users who are made, changed and disabled in a real Chromium, and sessions whose time is over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.core.auth.conftest import PASSWORD
from tests.dashboard import stack as stacks
from tests.dashboard.stack import Stack, log_in

pytestmark = pytest.mark.slow

_MINUTE = 60_000
NEW = "another long sentence"
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = stacks.build(tmp_path_factory.mktemp("accounts") / "loans")
    try:
        made.accounts.users.add("ada", "admin", PASSWORD, by="tests")
        made.start("data", "dashboard")
        yield made
    finally:
        made.stop()


@pytest.fixture
def short_sessions(stack: Stack) -> Iterator[None]:
    """Let sessions end after a minute, the shortest that there is."""
    stack.kill("data")
    stack.environment["PUNCTUAL_SESSION_MINUTES"] = "1"
    stack.start("data")
    yield
    stack.kill("data")
    del stack.environment["PUNCTUAL_SESSION_MINUTES"]
    stack.start("data")


def act(page: Page, menu: str, button: str) -> None:
    """Choose what to do with the user that is chosen, and do it."""
    page.get_by_role("button", name=re.compile(f"{menu}$")).click()
    page.get_by_role("button", name=button, exact=True).click()


def choose(page: Page, user: str) -> None:
    page.get_by_role("combobox", name="User").fill(user)
    page.get_by_role("option", name=user, exact=True).click()


def test_a_user_is_made_given_another_role_and_disabled(tab: Open, stack: Stack):
    admin, other = tab(), tab()
    log_in(admin, stack, "ada", at="/users")
    admin.get_by_label("Name", exact=True).fill("eve")
    admin.get_by_role("button", name="Add", exact=True).click()
    expect(admin.get_by_text("eve logs in with this password, once:")).to_be_visible()
    given = admin.get_by_test_id("stCode").inner_text().strip()
    admin.get_by_role("button", name="I have it").click()
    expect(admin.get_by_text(given)).to_have_count(0)

    log_in(other, stack, "eve", given)
    expect(other.get_by_role("heading", name="A new password")).to_be_visible()
    other.get_by_label("Present password").fill(given)
    other.get_by_label("New password").fill(NEW)
    other.get_by_label("The same again").fill(NEW)
    other.keyboard.press("Enter")
    expect(other.get_by_text("Logged in as eve (user)")).to_be_visible()
    expect(other.get_by_role("link", name="Users")).to_have_count(0)

    choose(admin, "eve")
    act(admin, "Role", "Make eve admin")
    other.wait_for_url("**/login*")
    log_in(other, stack, "eve", NEW, at="/users")
    expect(other.get_by_text("Logged in as eve (admin)")).to_be_visible()
    expect(other.get_by_role("heading", name="Add a user")).to_be_visible()

    admin.keyboard.press("Escape")  # the menu of before may lie over the next
    act(admin, "Disable", "Disable eve")
    other.wait_for_url("**/login*")
    log_in(other, stack, "eve", NEW)
    expect(other.get_by_role("alert")).to_be_visible()
    expect(other.get_by_label("User")).to_be_visible()
    (eve,) = [one for one in stack.accounts.users.all() if one["name"] == "eve"]
    assert (eve["role"], eve["disabled"], eve["must_change"]) == ("admin", True, False)


@pytest.mark.usefixtures("short_sessions")
def test_a_page_whose_session_s_time_is_over_goes_to_the_log_in_by_itself(tab: Open, stack: Stack):
    page = tab()
    log_in(page, stack, "ada", at="/users")
    expect(page.get_by_role("heading", name="Add a user")).to_be_visible()
    second = page.context.new_page()
    second.goto(f"{stack.url}/audit-log")
    expect(second.get_by_text("Logged in as ada (admin)")).to_be_visible()
    for left in (page, second):
        left.wait_for_url("**/login*", timeout=3 * _MINUTE)
        expect(left.get_by_label("User")).to_be_visible()
    page.goto(f"{stack.url}/users")
    expect(page.get_by_label("User")).to_be_visible()
    log_in(page, stack, "ada", at="/users")
    expect(page.get_by_role("heading", name="Add a user")).to_be_visible()
