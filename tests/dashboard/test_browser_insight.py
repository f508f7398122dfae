"""Monitoring, analytics and lineage in a real Chromium, on real services."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard import watched
from tests.dashboard.narrow import PHONE, sticks_out
from tests.dashboard.stack import SERVICES, Stack, in_use, log_in
from tests.dashboard.walk import VIEWS, walk

pytestmark = pytest.mark.slow

_LONG = 300_000  # a job, or a library that is loaded
PNG = b"\x89PNG\r\n\x1a\n"
Open = Callable[..., Page]
Take = Callable[[Page, str], None]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = watched.build(tmp_path_factory.mktemp("insight") / "loans")
    with in_use(made, *SERVICES, "dashboard"):
        yield made


def part(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).or_(
        page.get_by_role("button", name=name, exact=True)
    ).first.click()


def fits(page: Page) -> None:
    assert sticks_out(page) == []


def test_the_page_of_a_report_is_seen_and_can_do_nothing(tab: Open, stack: Stack, picture: Take):
    page = tab()
    log_in(page, stack, "ada", at="/monitoring")
    expect(page.get_by_text("Open alarms:")).to_be_visible()
    picture(page, "monitoring")
    part(page, "Drift")
    page.get_by_text("Show the page with the distributions").click()
    frame = page.frame_locator("iframe[title='The page of the drift report']")
    expect(frame.get_by_role("heading", name="Drift: model version 2")).to_be_visible()
    expect(frame.locator("svg").nth(3)).to_be_visible()  # what its own scripts draw
    inside = next(one for one in page.frames if "/reports/drift/" in one.url)
    assert inside.evaluate("self.origin") == "null"
    for reached in ("document.cookie", "parent.document.title", "localStorage.length"):
        with pytest.raises(Exception, match="SecurityError"):
            inside.evaluate(reached)
    # The frame first: Chromium lets nothing move in one that nobody sees, and what does not move is never at rest.
    page.locator("iframe[title='The page of the drift report']").scroll_into_view_if_needed()
    frame.locator("svg").nth(3).scroll_into_view_if_needed()
    picture(page, "drift-page")
    with page.expect_download() as download:
        page.get_by_role("button", name="HTML").click()
    assert download.value.suggested_filename.endswith("-v2.html")


def test_a_test_of_a_window_is_a_job(tab: Open, stack: Stack):
    page = tab()
    log_in(page, stack, "ada", at="/monitoring")
    part(page, "Drift")
    page.get_by_role("button", name="Test for drift").click()
    expect(page.get_by_test_id("stProgress")).to_be_visible()
    expect(page.get_by_text("done", exact=True).first).to_be_visible(timeout=_LONG)


def test_a_turn_that_only_looks_is_told_in_words(tab: Open, stack: Stack, picture: Take):
    page = tab()
    log_in(page, stack, "ada", at="/monitoring")
    page.get_by_text("It may act").click()
    expect(page.get_by_text("It looks and raises alarms, and no more.")).to_be_visible()
    page.get_by_role("button", name="Take a turn").click()
    expect(page.get_by_text("It looked at")).to_be_visible(timeout=_LONG)
    picture(page, "turn")


def test_a_chart_is_saved_as_a_picture_and_as_csv(tab: Open, stack: Stack, picture: Take, tmp_path: Path):
    page = tab()
    log_in(page, stack, "ada", at="/analytics")
    expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible(timeout=_LONG)  # (the first loads Plotly)
    picture(page, "analytics")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download plot as a PNG").first.click()
    assert download.value.suggested_filename == "predictions.png"
    download.value.save_as(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(PNG)
    assert (tmp_path / "chart.png").stat().st_size > 5_000
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").first.click()
    download.value.save_as(tmp_path / "chart.csv")
    rows = list(csv.DictReader((tmp_path / "chart.csv").open()))
    assert sum(int(row["version 2"]) for row in rows) >= 900
    with page.expect_download() as download:
        page.get_by_role("button", name="All of it as a page to print").click()
    download.value.save_as(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "<h2>Data quality</h2>" in html
    assert "<script" not in html


def test_a_part_of_a_page_has_an_address(tab: Open, stack: Stack):
    page = tab()
    log_in(page, stack, "ada", at="/analytics?analytics-part=Models")
    page.get_by_role("link", name="Compare two versions").click()
    expect(page).to_have_url(re.compile("/training.*training-part=Compare"))
    compare = page.get_by_role("radio", name="Compare", exact=True)
    expect(compare).to_be_checked()
    page.reload()
    expect(compare).to_be_checked()


def test_a_user_sees_figures_of_their_own_alone(tab: Open, stack: Stack):
    page = tab()
    log_in(page, stack, "bo", at="/analytics")
    expect(page.get_by_text("These are the predictions that you asked for.")).to_be_visible()
    expect(page.get_by_text("Nothing was predicted yet.")).to_be_visible()
    expect(page.get_by_role("button", name="Data quality")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_they_fit_a_phone_in_light_and_dark(tab: Open, stack: Stack, picture: Take, scheme: str):
    page = tab(viewport=PHONE, color_scheme=scheme, device_scale_factor=2)
    log_in(page, stack, "ada", at="/monitoring")
    expect(page.get_by_text("Open alarms:")).to_be_visible()
    fits(page)
    picture(page, f"phone-monitoring-{scheme}")
    part(page, "Drift")
    expect(page.get_by_role("heading", name="One report")).to_be_visible()
    fits(page)
    picture(page, f"phone-drift-{scheme}")
    page.goto(f"{stack.url}/analytics")
    expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()
    fits(page)
    picture(page, f"phone-analytics-{scheme}")
    page.goto(f"{stack.url}/data")
    part(page, "Lineage")
    expect(page.get_by_test_id("stGraphVizChart").locator("svg").first).to_be_visible()
    expect(page.get_by_test_id("stGraphVizChart").get_by_text("default_risk", exact=True)).to_be_visible()
    fits(page)
    picture(page, f"phone-lineage-{scheme}")


def test_whatever_sticks_out_of_a_page_is_found(tab: Open, stack: Stack):
    page = tab(viewport=PHONE)
    log_in(page, stack, "ada", at="/api-keys")
    expect(page.get_by_text("Change a key")).to_be_visible()
    fits(page)
    main = page.get_by_test_id("stMain")
    for put in ("position: relative", "position: fixed; left: 0; top: 0"):
        main.evaluate(
            """(main, put) => main.insertAdjacentHTML('beforeend',
            `<p id="wide" style="${put}; width: 2000px">wide</p>`)""",
            put,
        )
        assert any(one.endswith(": wide") for one in sticks_out(page)), put
        page.locator("#wide").evaluate("one => one.remove()")
    main.evaluate(
        """main => main.insertAdjacentHTML('beforeend',
        '<div style="width: 100%; overflow-x: auto"><p style="width: 2000px">a table may be wide</p></div>')"""
    )
    fits(page)


def test_every_other_page_fits_a_phone(tab: Open, stack: Stack, picture: Take):
    page = tab(viewport=PHONE)
    log_in(page, stack, "ada", at="/health")
    expect(page.get_by_role("heading", name="prediction", exact=True)).to_be_visible()
    wrong = {}
    for address in walk(page, stack, VIEWS):
        if out := sticks_out(page):
            wrong[address] = out
        picture(page, f"phone{re.sub('[^a-z]+', '-', address.lower())}")
    assert wrong == {}
