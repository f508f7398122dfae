"""A walk over all pages and their parts, each of which is waited for until it is whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.dashboard.stack import Stack

Views = Mapping[str, str | re.Pattern[str]]
# Of each page and part, a text that is there once it is whole.
VIEWS: Views = {
    "/predict": "Will this customer miss the next instalment?",
    "/analytics?analytics-part=Data quality": "Why rows did not pass",
    "/analytics?analytics-part=Models": "No model is registered yet.",
    "/data": "Fetched up to",
    "/data?data-part=Validation": "In quarantine",
    "/data?data-part=Versions": "Windows of the present one",
    "/data?data-part=Runs of the flow": "The flow has not run yet.",
    "/data?data-part=Explore": "What is in the columns",
    "/monitoring?monitoring-part=Performance": re.compile(r"\d+ of \d+ rows"),
    "/monitoring?monitoring-part=Alarms": "Open alarms:",
    "/monitoring?monitoring-part=Decisions": re.compile("Nothing was decided yet|All of them"),
    "/users": "Change a user",
    "/api-keys": "Change a key",
    "/audit-log": "Audit log",
    "/health": "answered in",
}
# Those with charts and graphs, which take a while to be drawn.
DRAWN: Views = {
    "/analytics": "By model version",
    "/monitoring": "Open alarms:",
    "/monitoring?monitoring-part=Drift": "Test a window",
    "/data?data-part=Lineage": re.compile("^default_risk$"),
}
# Those that say something where models were trained.
TRAINING: Views = {
    "/training?training-part=Train": "Retrain",
    "/training?training-part=Models": re.compile("Promote$|This is the champion"),
    "/training?training-part=Compare": "The comparison as a page to print",
    "/training?training-part=Promotions": " rows",
}


def walk(page: Page, stack: Stack, views: Views) -> Iterator[str]:
    """Open one view after the other, and give the address of each once it is there."""
    for address, seen in views.items():
        page.goto(stack.url + address)
        expect(page.get_by_test_id("stMain").get_by_text(seen).locator("visible=true").first).to_be_visible()
        yield address
