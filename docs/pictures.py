"""Take the pictures of docs/dashboard.md from a dashboard that runs.

    PUNCTUAL_PICTURES_PASSWORD=... python docs/pictures.py --user admin --entity 20131116-EV6049-EWR

A log-in of an administrator is needed. The pictures are of what the services hold: run `punctual up`, or let
`punctual replay` end, so that there is something to see. Needs Chromium and the packages of requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dashboard.parts.choice import query

FOLDER = Path(__file__).parent / "pictures"
_PATIENCE = 60_000  # ms
_MOST = 250_000  # bytes of a picture
_PHONE = {"width": 390, "height": 844}


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes
    ----------
    name : str
        Of its file.
    at : str
        The address, without the host.
    seen : str
        A text that is there once the page is whole.
    height : int
        Of the window, pixels.
    """

    name: str
    at: str
    seen: str
    height: int = 1000


def part(page: str, name: str) -> str:
    """Return the address of a part of a page."""
    return f"/{page}?{urlencode(query(page, name))}"


SHOTS = (
    Shot("lineage", part("data", "Lineage"), "raw tables"),
    Shot("training", part("training", "Compare"), "against", 1500),
    Shot("monitoring", "/monitoring", "Open alarms"),
    Shot("drift", part("monitoring", "Drift"), "One report", 1500),
    Shot("analytics", "/analytics", "Predictions", 1300),
)


def main() -> None:
    """Log in, go to each page, and keep what it looks like."""
    asked = _asked()
    password = os.environ.get("PUNCTUAL_PICTURES_PASSWORD")
    if not password:
        sys.exit("PUNCTUAL_PICTURES_PASSWORD is not set: it is the password to log in with.")
    FOLDER.mkdir(exist_ok=True)
    expect.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        # (In a container Chromium cannot make a sandbox inside of the one it is in.)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        _all(browser, asked, password)
        browser.close()


def _all(browser: Browser, asked: argparse.Namespace, password: str) -> None:
    page = _logged_in(browser, asked, password, viewport={"width": 1280, "height": 1500})
    box = page.get_by_role("combobox").first
    box.fill(asked.entity)
    page.wait_for_timeout(500)
    box.press("Enter")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("What drove it")).to_be_visible()
    _take(page, "predict")
    for shot in SHOTS:
        page.set_viewport_size({"width": 1280, "height": shot.height})
        page.goto(asked.url + shot.at)
        expect(page.get_by_text(shot.seen).first).to_be_visible()
        _take(page, shot.name)
    dark = _logged_in(browser, asked, password, viewport=_PHONE, color_scheme="dark", device_scale_factor=2)
    dark.goto(asked.url + "/monitoring")
    expect(dark.get_by_text("Open alarms").first).to_be_visible()
    _take(dark, "phone")


def _logged_in(browser: Browser, asked: argparse.Namespace, password: str, **options: object) -> Page:
    page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(_PATIENCE)
    page.goto(asked.url + "/predict")
    page.get_by_label("User").fill(asked.user)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    return page


def _take(page: Page, name: str) -> None:
    for busy in ("stStatusWidget", "stSkeleton", "stSpinner"):
        expect(page.get_by_test_id(busy)).to_have_count(0)
    expect(page.locator(".busy")).to_have_count(0)
    page.wait_for_timeout(1500)  # charts move when they come
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    # Without a palette: with one, colours that few points have, such as a line's, become others.
    Image.open(path).convert("RGB").save(path, optimize=True)
    size = path.stat().st_size
    if size > _MOST:
        sys.exit(f"{path} has {size:,} bytes, and {_MOST:,} are enough: take it from a lower window.")
    print(path)  # noqa: T201


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--url", default="http://127.0.0.1:8501", help="Where the dashboard is.")
    parser.add_argument("--user", default="admin", help="An administrator's name.")
    parser.add_argument("--entity", required=True, help="An id that the store knows.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
