"""The analytics page on paper: everything that its reader may see, as one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from core import pages
from core.clock import SystemClock
from core.errors import PunctualError
from dashboard.parts import paper, predicted, quality, registered, words

if TYPE_CHECKING:
    from dashboard.parts.current import Current

_MOST_ROWS = 200


def page(who: Current, period: str, now: predicted.Statistics, before: predicted.Statistics, positive: str) -> str:
    """Return the page.

    Parameters
    ----------
    who : Current
        For whom: an administrator's page holds data and models too.
    period : str
        Which predictions it is about, in words.
    now, before : mapping
        Their statistics, and those of the period before.
    positive : str
        What the positive class is called.
    """
    title = "Analytics"
    parts = [
        f"<h1>{title}</h1>",
        paper.words(f"Made for {who.session.user} at {words.moment(SystemClock().now())} UTC."),
    ]
    parts.append(paper.section(f"Predictions: {period}", _predictions(now, before, positive)))
    if who.session.is_admin:
        parts.append(paper.section("Data quality", _or_why(_quality, who)))
        parts.append(paper.section("Models", _or_why(_models, who)))
    return pages.document(title, parts)


def _predictions(now: predicted.Statistics, before: predicted.Statistics, positive: str) -> Iterator[str]:
    found = predicted.trends(now, before, positive)
    yield paper.table([{"": label, "is": value, "since the period before": change} for label, value, change in found])
    for chart in predicted.charts(now, before, positive):
        yield paper.chart(chart)
    yield paper.table(predicted.by_version(now))


def _quality(who: Current) -> Iterator[str]:
    found = quality.reports(who)
    for chart in quality.charts(found):
        yield paper.chart(chart)
    yield paper.table(quality.versions(who))
    yield paper.table(quality.listed(found)[:_MOST_ROWS])


def _models(who: Current) -> Iterator[str]:
    found = registered.versions(who)
    for chart in registered.charts(found):
        yield paper.chart(chart)
    yield paper.table(registered.listed(found))


def _or_why(part: Callable[[Current], Iterator[str]], who: Any) -> list[str]:
    """Return a part, or in words why it is not there: the rest is worth printing all the same."""
    try:
        return list(part(who))
    except PunctualError as error:
        return [paper.words(str(error))]
