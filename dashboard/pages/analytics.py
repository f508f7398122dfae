"""Analytics: what was predicted over time, how good the data is, how the models compare; to look at and to print."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import streamlit as st

from core.errors import PunctualError
from dashboard.pages import training
from dashboard.parts import predicted, print_analytics, quality, registered, words
from dashboard.parts.choice import part_of, query
from dashboard.parts.contract import as_moment, sent
from dashboard.parts.current import Current, me
from dashboard.parts.periods import window
from dashboard.parts.status import busy, there, told

_LONGEST = timedelta(days=28)
_BUCKETS = ("hour", "day", "week", "month")
_WHICH: dict[str, bool | None] = {"All": None, "As it was": False, "What if": True}


@dataclass(frozen=True)
class Asked:
    """What of the predictions to look at: a period ``[since, until)``, UTC, cut into buckets."""

    since: datetime
    until: datetime
    bucket: str
    what_if: bool | None

    @property
    def before(self) -> Asked:
        """The period before, as long as this one."""
        return Asked(self.since - (self.until - self.since), self.since, self.bucket, self.what_if)

    def __str__(self) -> str:
        return f"{words.moment(self.since)} to {words.moment(self.until)} UTC, by {self.bucket}"


def show() -> None:
    """Draw the page."""
    who = me()
    st.title("Analytics")
    if not who.session.is_admin:
        st.caption("These are the predictions that you asked for.")
        _predictions(who)
        return
    part_of("analytics", {"Predictions": _predictions, "Data quality": _quality, "Models": _models})(who)


def _predictions(who: Current) -> None:
    if not there("monitoring"):
        return
    with told():
        newest = predicted.newest(who.call.get("monitoring", "/monitoring/predictions", limit=1)["predictions"])
        if newest is None:
            st.info("Nothing was predicted yet.")
            return
        asked = _ask(newest)
        if asked is None:
            st.caption("Choose the first and the last day.")
            return
        positive = _positive(who)
        with busy("Counting ..."):
            now, before = statistics(who, asked), statistics(who, asked.before)
        _printed(who, asked, now, before, positive)
        predicted.show(now, before, positive)


def _quality(who: Current) -> None:
    if there("data"):
        with told():
            quality.show(who)


def _models(who: Current) -> None:
    if there("training"):
        with told():
            registered.show(who)
            page = st.Page(training.show, title="Training", url_path="training")
            st.page_link(
                page,
                label="Compare two versions",
                icon=":material/compare_arrows:",
                query_params=query("training", "Compare"),
            )


def statistics(who: Current, asked: Asked) -> dict[str, Any]:
    """Return the statistics of a period; whose predictions they are of, the service decides."""
    params = {"bucket": asked.bucket, "what_if": asked.what_if, "since": sent(asked.since), "until": sent(asked.until)}
    return dict(who.call.get("monitoring", "/monitoring/statistics", **params))


def _ask(newest: datetime) -> Asked | None:
    last = newest.date()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        days = st.date_input("Days (UTC)", (last - _LONGEST, last), key="analytics-days", width=260)
        since, until = (as_moment(one) for one in window(days))
        if since is None or until is None:
            return None
        fits = suggested(until - since)
        bucket = st.segmented_control("By", _BUCKETS, default=fits, required=True, key=f"analytics-by-{fits}")
        which = st.selectbox("Which", list(_WHICH), key="analytics-which", width=160)
    return Asked(since, until, bucket, _WHICH[which])


def suggested(length: timedelta) -> str:
    """Return what to cut a period into: some tens of parts at most."""
    for longest, bucket in ((2, "hour"), (60, "day"), (400, "week")):
        if length <= timedelta(days=longest):
            return bucket
    return "month"


def _positive(who: Current) -> str:
    """Return what the positive class is called, as far as anybody can tell."""
    try:
        found = who.call.get("prediction", "/models/available")
        return next(str(one["classes"][1]) for one in found["models"] if one["version"] == found["serving"])
    except (PunctualError, StopIteration):
        return "positive"


def _printed(who: Current, asked: Asked, now: Any, before: Any, positive: str) -> None:
    def page() -> bytes:
        return print_analytics.page(who, str(asked), now, before, positive).encode()

    st.download_button(
        "All of it as a page to print",
        page,
        file_name=f"analytics-{asked.since:%Y%m%d}-{asked.until:%Y%m%d}.html",
        mime="text/html",
        icon=":material/print:",
        on_click="ignore",
        help="One file without scripts: the predictions of this period"
        + (", the quality of the data, and the models." if who.session.is_admin else "."),
    )
