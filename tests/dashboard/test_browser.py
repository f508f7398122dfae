"""The dashboard in a real Chromium, on real services; what it looked like is kept as pictures.

``PUNCTUAL_SCREENSHOTS`` names the folder for the pictures; without it they go to pytest's own.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.core.auth.conftest import PASSWORD
from tests.dashboard import stack as stacks
from tests.dashboard.narrow import PHONE, sticks_out
from tests.dashboard.stack import Stack, log_in

pytestmark = pytest.mark.slow

LOAN = "5901"
QUESTION = "Will this customer miss the next instalment?"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = stacks.build(tmp_path_factory.mktemp("browser") / "loans")
    try:
        for name, role in (("ada", "admin"), ("bo", "user")):
            made.accounts.users.add(name, role, PASSWORD, by="tests")
        made.start("data", "training", "prediction", "dashboard")
        yield made
    finally:
        made.stop()


def choose(page: Page, loan: str = LOAN) -> None:
    box = page.get_by_role("combobox", name="loan id")
    box.fill(loan)
    page.wait_for_timeout(300)
    box.press("Enter")


def test_the_first_log_in_asks_for_a_password_of_one_s_own(tab: Callable[..., Page], stack: Stack, picture):
    page = tab()
    given = stack.accounts.users.add("cy", "user", None, by="tests")
    page.goto(stack.url + "/predict")
    expect(page.get_by_label("User")).to_be_focused()
    picture(page, "login")
    log_in(page, stack, "cy", "not the password")
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    log_in(page, stack, "cy", given)
    expect(page.get_by_role("heading", name="A new password")).to_be_visible()
    picture(page, "password")
    page.goto(stack.url + "/predict")
    expect(page.get_by_role("heading", name="A new password")).to_be_visible()
    page.get_by_label("Present password").fill(given)
    page.get_by_label("New password").fill("another long sentence")
    page.get_by_label("The same again").fill("another long sentence")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()


def test_a_session_outlives_a_reload_and_ends_in_every_tab(tab: Callable[..., Page], stack: Stack):
    page = tab()
    log_in(page, stack, "bo")
    expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()
    cookies = page.context.cookies()
    session = next(c for c in cookies if not c["name"].endswith("-form"))
    assert (session["httpOnly"], session["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie").find(session["value"]) < 0
    assert session["value"] not in page.content()
    second = page.context.new_page()
    second.goto(stack.url + "/predict")
    expect(second.get_by_role("heading", name=QUESTION)).to_be_visible()
    expect(second.get_by_text("Page not found")).to_have_count(0)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("status")).to_contain_text("logged out")
    second.wait_for_url("**/login*")
    page.go_back()
    expect(page.get_by_label("User")).to_be_visible()


def test_a_session_that_an_administrator_ends_is_over_within_seconds(tab: Callable[..., Page], stack: Stack):
    page = tab()
    stack.accounts.users.add("dee", "user", PASSWORD, by="tests")
    log_in(page, stack, "dee")
    expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()
    stack.accounts.users.remove("dee", by="tests")
    page.wait_for_url("**/login*")


def test_users_see_their_pages_and_administrators_all(tab: Callable[..., Page], stack: Stack, picture):
    page = tab()
    log_in(page, stack, "bo", at="/users")
    links = page.get_by_test_id("stSidebarNavLink")
    expect(page.get_by_text("Logged in as bo (user)")).to_be_visible()
    expect(page.get_by_role("heading", name="Users")).to_have_count(0)
    expect(links).to_have_text([re.compile(r"Predict$"), re.compile(r"Analytics$")])
    admin = tab()
    log_in(admin, stack, "ada", at="/users")
    expect(admin.get_by_role("heading", name="Add a user")).to_be_visible()
    expect(admin.get_by_test_id("stSidebarNavLink")).to_have_text(
        [
            re.compile(f"{title}$")
            for title in (
                *("Predict", "Analytics", "Data", "Training", "Monitoring"),
                *("Users", "API keys", "Audit log", "Health"),
            )
        ]
    )
    picture(admin, "users")
    for path, heading in (("api-keys", "Issue a key"), ("audit-log", "Audit log"), ("health", "prediction")):
        admin.goto(f"{stack.url}/{path}")
        expect(admin.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        picture(admin, path)


def test_predict_by_id_see_why_and_ask_what_if(tab: Callable[..., Page], stack: Stack, picture, tmp_path: Path):
    page = tab(viewport={"width": 1280, "height": 1500})
    log_in(page, stack, "bo")
    choose(page, "999999999")
    expect(page.get_by_text("knows no loan_id 999999999")).to_be_visible()
    choose(page, "x")
    expect(page.get_by_text("loan_id is a whole number")).to_be_visible()
    choose(page)
    expect(page.get_by_role("img", name="payments_30d is").first).to_be_visible()
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("What drove it")).to_be_visible()
    page.get_by_text("What if …").click()
    page.get_by_label("amount", exact=True).fill("4900")
    page.get_by_role("button", name="Ask what if").click()
    expect(page.get_by_text("Asked what if amount = 4,900")).to_be_visible()
    expect(page.get_by_text("points")).to_be_visible()
    picture(page, "predict")
    with page.expect_download() as download:
        page.get_by_test_id("stDownloadButton").get_by_role("button").click()
    download.value.save_as(tmp_path / "history.csv")
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [row["asked"] for row in rows] == ["what if amount = 4,900", "as it is"]
    assert {row["entity"] for row in rows} == {LOAN}
    assert {row["model_version"] for row in rows} == {"2"}


def test_an_administrator_fetches_the_next_window_and_sees_what_came(tab: Callable[..., Page], stack: Stack, picture):
    page = tab()
    log_in(page, stack, "ada", at="/data")
    page.get_by_role("button", name="Fetch the next window").click()
    expect(page.get_by_test_id("stProgress")).to_be_visible()
    expect(page.get_by_text("Fetched up to 2024-03-08 00:00 UTC.")).to_be_visible(timeout=90_000)
    picture(page, "data")
    page.get_by_role("radio", name="Explore").or_(page.get_by_role("button", name="Explore")).first.click()
    expect(page.get_by_role("heading", name="What is in the columns")).to_be_visible()
    picture(page, "explore")
    page.goto(f"{stack.url}/training")
    expect(page.get_by_role("button", name="Retrain")).to_be_visible()
    picture(page, "training")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(tab: Callable[..., Page], stack: Stack, picture, scheme: str):
    page = tab(viewport=PHONE, color_scheme=scheme, device_scale_factor=2)
    page.goto(f"{stack.url}/predict")
    expect(page.get_by_label("User")).to_be_visible()
    assert sticks_out(page) == []
    log_in(page, stack, "bo")
    choose(page)
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("What drove it")).to_be_visible()
    assert sticks_out(page) == []
    picture(page, f"phone-{scheme}")


def test_a_service_that_is_killed_takes_its_part_and_comes_back(tab: Callable[..., Page], stack: Stack, picture):
    page = tab()
    log_in(page, stack, "ada")
    expect(page.get_by_text("prediction: up").first).to_be_visible()
    stack.kill("prediction")
    expect(page.get_by_text("prediction: down").first).to_be_visible()
    expect(page.get_by_text("The prediction service is down, so this part is not there")).to_be_visible()
    picture(page, "down")
    page.get_by_role("link", name="Users").click()
    expect(page.get_by_role("heading", name="Add a user")).to_be_visible()
    page.get_by_role("link", name="Predict").click()
    stack.start("prediction")
    expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()
    stack.kill("data")
    expect(page.get_by_text("data: down").first).to_be_visible()
    choose(page)
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("What drove it")).to_be_visible()
    stack.start("data")
    expect(page.get_by_text("data: up").first).to_be_visible()
