"""Drift: over time, by feature, one report in numbers and words, its page, and a test over any window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import streamlit as st

from dashboard.parts import drift_charts, jobs, overview, words
from dashboard.parts.charts import show as show_chart
from dashboard.parts.contract import as_moment
from dashboard.parts.current import Current
from dashboard.parts.periods import window
from dashboard.parts.status import busy, told
from dashboard.parts.tables import table
from dashboard.reports import drift_page

_LISTED = 200
_FULL = 30  # reports that are read in full for the pictures
_FEATURES = (15, 30, 60, 120)
_PAGE_HEIGHT = 900
_LEAST = timedelta(microseconds=1)  # a window ends before its end
Short = Mapping[str, Any]  # as GET /monitoring/drift lists one


def show(who: Current) -> None:
    """Draw it all."""
    with busy("Reading the reports ..."):
        reports = who.call.get("monitoring", "/monitoring/drift", limit=_LISTED)["reports"]
    if reports:
        _pictures(who, reports)
        _report(who, reports)
    else:
        st.info("There is no drift report yet. Each turn of monitoring makes one; below, you can ask for one.")
    _ask(who, reports)


def _pictures(who: Current, reports: Sequence[Short]) -> None:
    newest = list(reversed(reports[:_FULL]))
    with busy("Reading them in full ..."):
        full = [_full(who.call, one["id"], one["made_at"]) for one in newest]
    if len(reports) > _FULL:
        st.caption(f"The {_FULL} newest of {len(reports)} reports.")
    figure, rows = drift_charts.over_time(full)
    show_chart(figure, rows, tuple(rows[0]), title="Drift over time", name="drift", key="drift-time")
    st.caption("A prediction score says how far the predictions themselves moved: 1, the dashed line, is the limit.")
    most = st.segmented_control("Features", _FEATURES, default=_FEATURES[0], required=True, key="drift-most")
    figure, rows = drift_charts.by_feature(full, most)
    if rows:
        title = "How far each feature moved, of its limit"
        show_chart(figure, rows, tuple(rows[0]), title=title, name="drift-by-feature", key="drift-features")
        st.caption(
            "Windows from left to right, by the day of their end, the newest last; the features that moved farthest on "
            "top. Blue is below the limit, and paler the nearer to what is usual; from the limit on it is orange, and "
            "redder the farther. Twice the limit and all beyond it have the same red: point at a field to read how far."
        )


# What a report says stays as it is until it is made anew, and is the same for everybody who may read it.
@st.cache_data(ttl=3600, show_spinner=False, max_entries=200)
def _full(_call: Any, report_id: str, made_at: str) -> dict[str, Any]:
    return dict(_call.get("monitoring", f"/monitoring/drift/{report_id}"))


def _report(who: Current, reports: Sequence[Short]) -> None:
    st.subheader("One report")
    labels = {one["id"]: _label(one) for one in reports}
    picked = st.selectbox("Report", list(labels), format_func=labels.__getitem__, key="drift-report", width=560)
    short = next(one for one in reports if one["id"] == picked)
    report = _full(who.call, picked, short["made_at"])
    with st.container(horizontal=True, vertical_alignment="center"):
        overview.verdict(report["verdict"])
        st.caption(f"made {words.moment(report['made_at'])} UTC", width="content")
    counted = [one for one in report["features"] if one["drifted"]]
    with st.container(horizontal=True, gap="medium"):
        st.metric("Predictions", f"{report['rows']:,}", width="content")
        st.metric("Looked at", f"{report['sampled']:,}", width="content")
        st.metric("Features that drifted", f"{len(counted)} of {len(report['features'])}", width="content")
        score = drift_charts.ratio(report["prediction"])
        st.metric("Prediction score", words.NOTHING if score is None else f"{score:.2f}", width="content")
    st.markdown("\n".join(f"- {words.literal(reason)}" for reason in report["reasons"]))
    if report["performance"]:
        st.write(words.literal(f"Performance: {report['performance']['words']}"))
    for note in report["notes"]:
        st.caption(words.literal(note))
    rows = [row(one) for one in features(report)]
    if rows:
        small = {"adjusted p": st.column_config.NumberColumn(format="%.2g")}
        table(rows, tuple(rows[0]), name=f"drift-{picked}", key="drift-rows", height=360, column_config=small)
    _page(who, report, short["has_page"])


def features(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the columns of a report: the predictions, then features, those that moved farthest first."""
    ordered = sorted(report["features"], key=lambda one: (not one["drifted"], -(drift_charts.ratio(one) or 0.0)))
    return [report["prediction"], *ordered] if report["prediction"] else ordered


def row(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a column of a report as a row of a table."""
    return {
        "feature": one["name"],
        "drifted": "yes" if one["drifted"] else "no",
        "says": one["words"],
        "effect": one["effect"],
        "limit": one["threshold"],
        "adjusted p": one["adjusted_p"],
        "missing in training": one["missing_reference"],
        "missing now": one["missing_current"],
        "counts": "no" if one["ignored"] else "yes",
    }


def _page(who: Current, report: Mapping[str, Any], there: bool) -> None:
    path, name = f"/monitoring/drift/{report['id']}", f"drift-{report['id']}"
    with st.container(horizontal=True, vertical_alignment="center"):
        wanted = st.toggle("Show the page with the distributions", key="drift-page", width="content")
        _download(who, f"{path}/report.json", f"{name}.json", "application/json")
        if not wanted:
            return
        if there:
            _download(who, f"{path}/report.html", f"{name}.html", "text/html")
    if there:
        # It comes from an address of its own, whose policy keeps its scripts from everything that is ours.
        st.iframe(drift_page(report["id"]), height=_PAGE_HEIGHT, alt="The page of the drift report")
        return
    st.info("This report has figures and no page.")
    if st.button("Draw it", icon=":material/draw:"):
        body = {name: report[name] for name in ("since", "until")} | {"version": report["model_version"]}
        jobs.start(who, "monitoring", "/monitoring/drift", body)


def _download(who: Current, path: str, name: str, mime: str) -> None:
    st.download_button(
        mime.rpartition("/")[2].upper(),
        lambda: who.call.call("monitoring", "GET", path).body,
        file_name=name,
        mime=mime,
        icon=":material/download:",
        on_click="ignore",
        key=f"drift-{mime}",
    )


def _ask(who: Current, reports: Sequence[Short]) -> None:
    st.subheader("Test a window")
    since, until = (as_moment(reports[0][name]) if reports else None for name in ("since", "until"))
    first: Any = (since.date(), (until - _LEAST).date()) if since and until else ()
    with st.form("drift-ask"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            days = st.date_input("Days (UTC)", first, key="drift-days", width=260)
            version = st.text_input("Version", key="drift-version", placeholder="the champion", width=160, max_chars=9)
        st.caption("On the problem's clock; both days count.")
        sent = st.form_submit_button("Test for drift", type="primary", icon=":material/troubleshoot:")
    if sent:
        begin, end = window(days)
        if begin and end:
            body = {"since": begin, "until": end, "version": version.strip() or None}
            jobs.start(who, "monitoring", "/monitoring/drift", body)
        else:
            st.warning("Choose the first and the last day.")
    with told():
        jobs.section(who, "monitoring")


def _label(one: Short) -> str:
    span = f"{words.moment(one['since'])} to {words.moment(one['until'])}"
    return f"{span}, version {one['model_version']}: {one['verdict']}"
