"""Data: fetch what is new, run any step, and look at what came, what passed, and what did not."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.parts import explore, jobs, lineage, stages, words
from dashboard.parts.choice import part_of
from dashboard.parts.current import Current, me
from dashboard.parts.status import busy, there, told
from dashboard.parts.tables import table


def show() -> None:
    """Draw the page."""
    who = me()
    st.title("Data")
    if not there("data"):
        return
    part = part_of(
        "data",
        {
            "Fetch": _fetch,
            "Validation": _validation,
            "Versions": _versions,
            "Runs of the flow": _runs,
            "Explore": explore.show,
            "Lineage": lineage.show,
        },
    )
    with told():
        part(who)


def _fetch(who: Current) -> None:
    with busy("Reading the versions ..."):
        latest = who.call.get("data", "/data/versions")["versions"]
    until = latest[0]["windows"][-1]["until"] if latest and latest[0]["windows"] else None
    st.caption(f"Fetched up to {words.moment(until)} UTC." if until else "Nothing was fetched yet.")
    if st.button(
        "Fetch new data",
        type="primary",
        icon=":material/download:",
        help="The whole flow: the next window, its features, a training, and the better model in use.",
    ):
        jobs.start(who, "data", "/flow/run")
    stages.show(who)
    jobs.section(who, "data")


def _validation(who: Current) -> None:
    with busy("Reading the reports ..."):
        reports = who.call.get("data", "/data/reports")["reports"]
    rows = [row for report in reports for row in report_rows(report)]
    if not rows:
        st.caption("Nothing was validated yet.")
        return
    bad = sum(row["quarantined"] for row in rows)
    with st.container(horizontal=True):
        st.metric("Windows", len(reports), width=160)
        st.metric("Rows", f"{sum(row['rows'] for row in rows):,}", width=200)
        st.metric("In quarantine", f"{bad:,}", width=200)
    table(rows, ("window", "table", "rows", "quarantined", "reasons", "warnings"), name="validation", key="validation")
    st.subheader("Quarantine")
    tables = sorted({row["table"] for row in rows if row["quarantined"]})
    if not tables:
        st.caption("Nothing is in quarantine.")
        return
    picked = st.selectbox("Table", tables, key="quarantine-table", width=320)
    with busy("Reading the rows ..."):
        found = who.call.get("data", "/data/preview", table=picked, layer="quarantine", limit=500)
    columns = ["reason", *(name for name in found["columns"] if name != "reason")]
    st.caption(f"{found['total']:,} rows in all; the newest windows first, 500 at most.")
    table(found["rows"], columns, name=f"quarantine-{picked}", key="quarantine")


def report_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row a table of a window's validation report."""
    return [
        {
            "window": report["window"],
            "table": name,
            "rows": found["rows"],
            "quarantined": found["quarantined"],
            "reasons": counted(found["reasons"]),
            "warnings": counted(found["warnings"]),
        }
        for name, found in report["tables"].items()
    ]


def counted(found: dict[str, Any]) -> str:
    """Return what was counted as text, the most frequent first."""
    ordered = sorted(found.items(), key=lambda item: (-item[1] if isinstance(item[1], int) else 0, item[0]))
    return "; ".join(f"{name}: {count}" for name, count in ordered)


def _versions(who: Current) -> None:
    with busy("Reading the versions ..."):
        versions = who.call.get("data", "/data/versions")["versions"]
    if not versions:
        st.caption("There is no data yet, so there is no version of it.")
        return
    rows = [
        {
            "version": one["version"],
            "now": one["current"],
            "windows": len(one["windows"]),
            "until": words.moment(one["windows"][-1]["until"]) if one["windows"] else words.NOTHING,
            "rows": counted(one["rows"]),
            "made": words.moment(one["created_at"]),
            "by": one["actor"],
            "git commit": (one["git_commit"] or "")[:12],
            "dvc.lock": (one["dvc_lock"] or "")[:12],
        }
        for one in versions
    ]
    table(rows, tuple(rows[0]), name="data-versions", key="versions")
    st.subheader("Windows of the present one")
    windows = [
        {"since": words.moment(w["since"]), "until": words.moment(w["until"]), **w["rows"]}
        for w in reversed(versions[0]["windows"])
    ]
    st.dataframe(windows, hide_index=True)


def _runs(who: Current) -> None:
    with busy("Reading the runs ..."):
        runs = who.call.get("data", "/flow/runs")["runs"]
    if not runs:
        st.caption("The flow has not run yet.")
        return
    table([plain(run) for run in runs], tuple(runs[0]), name="flow-runs", key="runs")


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose lists and objects are text."""
    return {k: v if isinstance(v, str | int | float | bool | None) else words.several(v) for k, v in row.items()}
