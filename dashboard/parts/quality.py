"""The quality of the data, window by window: how many rows came, and which did not pass, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import streamlit as st

from core.windows import Window
from dashboard.parts import words
from dashboard.parts.charts import Chart, draw
from dashboard.parts.current import Current
from dashboard.parts.status import busy
from dashboard.parts.tables import table

_MOST_REASONS = 7
_OTHERS = "other reasons"
_DAY = timedelta(days=1)
_ALONG = "window ends (UTC)"
Report = Mapping[str, Any]


def reports(who: Current) -> list[dict[str, Any]]:
    """Return the validation of each of the newest windows, the oldest first."""
    return list(reversed(who.call.get("data", "/data/reports", limit=200)["reports"]))


def reasons(report: Report) -> dict[str, int]:
    """Return why rows of a window did not pass: table and check to rows, whatever the value was."""
    out: dict[str, int] = {}
    for name, found in report["tables"].items():
        for reason, count in found["reasons"].items():
            check = f"{name}: {reason.partition(': ')[0]}"
            out[check] = out.get(check, 0) + count
    return out


def charts(found: Sequence[Report]) -> list[Chart]:
    """Return what there is to draw of several windows, oldest first."""
    x = [_window(report).until for report in found]
    tables = list(dict.fromkeys(name for report in found for name in report["tables"]))
    # Windows are of any length: what comes in a day can be compared.
    days = [(_window(report).until - _window(report).since) / _DAY for report in found]
    rows = {name: [_of(report, name, "rows") / days[i] for i, report in enumerate(found)] for name in tables}
    shares = [_share(report) for report in found]
    return [
        Chart("Rows a day", "rows", "stacked", x, rows, along=_ALONG),
        Chart("Share in quarantine", "quarantine-share", "lines", x, {"share": shares}, share=True, along=_ALONG),
        Chart("In quarantine, by reason", "quarantine-reasons", "stacked", x, _by_reason(found), along=_ALONG),
    ]


def listed(found: Sequence[Report]) -> list[dict[str, Any]]:
    """Return one row a window, table and reason, the newest window first."""
    return [
        {"window": str(_window(report)), "table": name, "reason": reason, "rows": count, "of": one["rows"]}
        for report in reversed(found)
        for name, one in report["tables"].items()
        for reason, count in one["reasons"].items()
    ]


def versions(who: Current) -> list[dict[str, Any]]:
    """Return the data versions, newest first, as rows to show."""
    return [
        {
            "version": one["version"],
            "until": words.moment(one["windows"][-1]["until"]) if one["windows"] else words.NOTHING,
            "windows": len(one["windows"]),
            "rows": sum(one["rows"].values()),
            "quarantined": sum(sum((window["quarantined"] or {}).values()) for window in one["windows"]),
            "made": words.moment(one["created_at"]),
        }
        for one in who.call.get("data", "/data/versions")["versions"]
    ]


def show(who: Current) -> None:
    """Draw it all."""
    with busy("Reading the reports ..."):
        found = reports(who)
    if not found:
        st.info("Nothing was validated yet.")
        return
    drawn = charts(found)
    left, right = st.columns(2, gap="large")
    for place, chart in zip((left, right, left), drawn, strict=True):
        with place:
            draw(chart, key=f"quality-{chart.name}")
    with right:
        st.markdown("**Data versions**")
        st.dataframe(versions(who), hide_index=True)
    st.subheader("Why rows did not pass")
    rows = listed(found)
    if not rows:
        st.caption("All rows passed.")
        return
    table(rows, tuple(rows[0]), name="quarantine", key="quality-reasons")


def _by_reason(found: Sequence[Report]) -> dict[str, list[float | None]]:
    """Return reason to rows by window: the commonest reasons, and the others together."""
    counted = [reasons(report) for report in found]
    sums: dict[str, int] = {}
    for one in counted:
        for reason, count in one.items():
            sums[reason] = sums.get(reason, 0) + count
    ordered = sorted(sums, key=lambda reason: (-sums[reason], reason))
    out: dict[str, list[float | None]] = {
        reason: [one.get(reason, 0) for one in counted] for reason in ordered[:_MOST_REASONS]
    }
    if rest := ordered[_MOST_REASONS:]:
        out[_OTHERS] = [sum(one.get(reason, 0) for reason in rest) for one in counted]
    return out


def _share(report: Report) -> float | None:
    total = sum(_of(report, name, "rows") for name in report["tables"])
    return sum(_of(report, name, "quarantined") for name in report["tables"]) / total if total else None


def _of(report: Report, name: str, what: str) -> int:
    return int(report["tables"].get(name, {}).get(what, 0))


def _window(report: Report) -> Window:
    return Window.parse(report["window"])
