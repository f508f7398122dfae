"""From new data and a training to another champion, in a real Chromium, on real services."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.registry import pointed_version
from tests.core.auth.conftest import PASSWORD
from tests.dashboard import stack as stacks
from tests.dashboard.contrast import too_faint
from tests.dashboard.narrow import PHONE, settled, sticks_out
from tests.dashboard.stack import Stack, log_in
from tests.dashboard.walk import TRAINING, walk
from tests.training.loans import OTHER, QUICK
from training.train import train

pytestmark = pytest.mark.slow

_LONG = 300_000  # a job
OVER = re.compile("^(done|failed|cancelled)$")
Open = Callable[..., Page]
Take = Callable[[Page, str], None]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Bring up everything with a registered champion, version 1, and a version 2 that was not promoted."""
    made = stacks.build(tmp_path_factory.mktemp("retrain") / "loans")
    try:
        for params, promote in ((QUICK, True), (OTHER, False)):
            train(made.world.repo, params, promote=promote)
        made.accounts.users.add("ada", "admin", PASSWORD, by="tests")
        made.start("data", "training", "prediction", "monitoring", "dashboard")
        yield made
    finally:
        made.stop()


def champion(stack: Stack) -> str | None:
    return pointed_version(stack.world.repo.layout, "champion")


def part(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).or_(
        page.get_by_role("button", name=name, exact=True)
    ).first.click()


def see_a_job_through(page: Page) -> None:
    """See a job at work, and then done."""
    cancel = page.get_by_role("button", name="Cancel")
    expect(cancel).to_be_visible()
    expect(page.get_by_test_id("stProgress")).to_be_visible()
    expect(page.get_by_text(OVER).first).to_have_text("done", timeout=_LONG)
    expect(cancel).to_have_count(0)


def exported(page: Page, file: Path) -> list[dict[str, str]]:
    """Return the rows of the table that a page shows."""
    with page.expect_download() as download:
        page.get_by_test_id("stDownloadButton").get_by_role("button").click()
    download.value.save_as(file)
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_a_training_is_seen_through_and_its_model_made_the_champion(
    tab: Open, stack: Stack, picture: Take, tmp_path: Path
):
    page = tab(viewport={"width": 1280, "height": 1400})
    log_in(page, stack, "ada", at="/training")
    page.get_by_text("The gate may promote what passes it").click()
    expect(page.get_by_role("switch").or_(page.get_by_role("checkbox")).first).not_to_be_checked()
    page.get_by_role("button", name="Retrain").click()
    see_a_job_through(page)
    assert champion(stack) == "1"
    part(page, "Models")
    crown = page.get_by_text("This is the champion")
    promote = page.get_by_role("button", name="Promote", exact=True)
    expect(promote).to_be_visible()
    expect(crown).to_have_count(0)
    promote.click()
    make = page.get_by_role("button", name="Make 3 the champion")
    expect(make).to_be_disabled()
    page.get_by_label("Why").fill("it has seen *more*")
    page.keyboard.press("Enter")
    expect(make).to_be_enabled()
    make.click()
    expect(crown).to_be_visible()
    expect(promote).to_have_count(0)
    assert champion(stack) == "3"
    expect(page.get_by_text("it has seen *more*")).to_be_visible()  # as it was typed
    picture(page, "models")
    part(page, "Promotions")
    expect(crown).to_have_count(0)
    settled(page)
    newest, *_, first = exported(page, tmp_path / "promotions.csv")
    told = ("action", "version", "previous_version", "status", "requested_by", "reasons")
    assert [newest[name] for name in told] == ["promote", "3", "1", "active", "ada", "it has seen *more*"]
    assert (first["version"], first["requested_by"]) == ("1", "gate")
    picture(page, "promotions")


def test_new_data_are_fetched_and_the_whole_flow_is_seen_through(tab: Open, stack: Stack, picture: Take):
    page = tab()
    log_in(page, stack, "ada", at="/data")
    expect(page.get_by_text("Fetched up to 2024-03-01 00:00 UTC.")).to_be_visible()
    page.get_by_role("button", name="Fetch new data").click()
    see_a_job_through(page)
    expect(page.get_by_text("Fetched up to 2024-03-08 00:00 UTC.")).to_be_visible()
    picture(page, "fetched")
    part(page, "Runs of the flow")
    expect(page.get_by_text("1 of 1 rows")).to_be_visible()


def test_all_of_a_training_fits_a_phone(tab: Open, stack: Stack, picture: Take):
    page = tab(viewport=PHONE)
    log_in(page, stack, "ada", at="/training")
    expect(page.get_by_role("button", name="Retrain")).to_be_visible()
    wrong = {}
    for address in walk(page, stack, TRAINING):
        if out := sticks_out(page):
            wrong[address] = out
        picture(page, f"phone-training-{address.rpartition('=')[2].lower()}")
    assert wrong == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_of_a_training_stands_out_in_light_and_dark(tab: Open, stack: Stack, scheme: str):
    page = tab(color_scheme=scheme)
    log_in(page, stack, "ada", at="/training")
    expect(page.get_by_role("button", name="Retrain")).to_be_visible()
    assert {address: faint for address in walk(page, stack, TRAINING) if (faint := too_faint(page))} == {}
