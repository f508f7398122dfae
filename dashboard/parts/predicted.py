"""What was predicted in a period, against the period before: figures, charts, versions, and who asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import streamlit as st

from dashboard.parts import words
from dashboard.parts.charts import Chart, draw
from dashboard.parts.contract import as_moment
from dashboard.parts.tables import table

_MOST_ACTORS = 15
_SUMS = ("predictions", "positives", "stale", "missing")
Statistics = Mapping[str, Any]  # as GET /monitoring/statistics tells them


@dataclass(frozen=True)
class Summary:
    """A period, or a part of it, in figures; shares are None where nothing was predicted.

    Attributes
    ----------
    predictions : int
        How many.
    positive, mean, stale, missing : float or None
        Share called positive; mean probability; shares made with a row older than promised, and without some value.
    """

    predictions: int
    positive: float | None = None
    mean: float | None = None
    stale: float | None = None
    missing: float | None = None


def summary(buckets: Sequence[Mapping[str, Any]]) -> Summary:
    """Return several buckets as one."""
    sums = {name: sum(int(one[name] or 0) for one in buckets) for name in _SUMS}
    count = sums["predictions"]
    if not count:
        return Summary(0)
    weighed = sum((one["mean_probability"] or 0.0) * one["predictions"] for one in buckets)
    shares = (sums["positives"], weighed, sums["stale"], sums["missing"])
    return Summary(count, *(share / count for share in shares))


def charts(now: Statistics, before: Statistics, positive: str) -> list[Chart]:
    """Return what there is to draw of a period.

    Parameters
    ----------
    now, before : mapping
        The statistics of the period and of the one before it.
    positive : str
        What the positive class is called.
    """
    starts = sorted({one["start"] for one in now["buckets"]})
    x = [as_moment(start) for start in starts]
    at = {start: [one for one in now["buckets"] if one["start"] == start] for start in starts}
    whole = [summary(at[start]) for start in starts]
    versions = sorted({str(one["model_version"]) for one in now["buckets"]}, key=_by_number)
    counts = {f"version {version}": [_count(at[start], version) for start in starts] for version in versions}
    answers = {f"called {positive}": [one.positive for one in whole], "mean probability": [one.mean for one in whole]}
    inputs = {"older than promised": [one.stale for one in whole], "without some value": [one.missing for one in whole]}
    tenths = [f"{one['low']:.1f}-{one['high']:.1f}" for one in now["probability"]]
    spread = {"this period": _spread(now)} | ({"the period before": _spread(before)} if before["total"] else {})
    found = [
        Chart("Predictions", "predictions", "stacked", x, counts),
        Chart("Answers", "answers", "lines", x, answers, share=True),
        Chart("Probabilities", "probabilities", "bars", tenths, spread, share=True, along="probability"),
        Chart("What was missing", "inputs", "lines", x, inputs, share=True),
    ]
    actors = [one for one in now["actors"] if one["actor"]][:_MOST_ACTORS]
    if len(actors) > 1:
        names = [str(one["actor"]) for one in actors]
        asked = {"predictions": [one["predictions"] for one in actors]}
        found.append(Chart("Who asked", "actors", "bars", names, asked, along="who"))
    return found


def by_version(now: Statistics) -> list[dict[str, Any]]:
    """Return one row a model version."""
    versions = sorted({str(one["model_version"]) for one in now["buckets"]}, key=_by_number)
    out = []
    for version in versions:
        one = summary([bucket for bucket in now["buckets"] if str(bucket["model_version"]) == version])
        out.append(
            {
                "version": version,
                "predictions": one.predictions,
                "called positive": one.positive,
                "mean probability": one.mean,
                "older than promised": one.stale,
                "without some value": one.missing,
            }
        )
    return out


def trends(now: Statistics, before: Statistics, positive: str) -> list[tuple[str, str, str | None]]:
    """Return label, value, and the change since the period before, None where that had no predictions."""
    new, old = summary(now["buckets"]), summary(before["buckets"])
    grown = f"{new.predictions / old.predictions - 1:+.0%}" if old.predictions else None
    out: list[tuple[str, str, str | None]] = [("Predictions", f"{new.predictions:,}", grown)]
    for label, name in (
        (f"Called {positive}", "positive"),
        ("Mean probability", "mean"),
        ("Older than promised", "stale"),
        ("Without some value", "missing"),
    ):
        value, earlier = getattr(new, name), getattr(old, name)
        if value is None:
            out.append((label, words.NOTHING, None))
            continue
        change = None if earlier is None else f"{(value - earlier) * 100:+.1f} points"
        out.append((label, words.share(value), change))
    return out


def show(now: Statistics, before: Statistics, positive: str) -> None:
    """Draw it all."""
    with st.container(horizontal=True, gap="medium"):
        for label, value, change in trends(now, before, positive):
            st.metric(label, value, change, "off", width=150)
    earlier = (
        "the change since the period before, which is as long" if before["total"] else "nothing to compare with yet"
    )
    st.caption(f"Below each figure: {earlier}.")
    if not now["buckets"]:
        st.info("Nothing was predicted in this period.")
        return
    found = charts(now, before, positive)
    for i in range(0, len(found), 2):
        for place, chart in zip(st.columns(2, gap="large"), found[i : i + 2], strict=False):
            with place:
                draw(chart, key=f"analytics-{chart.name}")
    st.subheader("By model version")
    rows = by_version(now)
    share = st.column_config.NumberColumn(format="percent")
    table(
        rows, tuple(rows[0]), name="by-version", key="by-version", column_config=dict.fromkeys(list(rows[0])[2:], share)
    )


def newest(moment: Any) -> datetime | None:
    """Return the moment of the newest of some predictions, None where there is none."""
    return as_moment(moment[0]["predicted_at"]) if moment else None


def _count(buckets: Sequence[Mapping[str, Any]], version: str) -> int:
    return sum(one["predictions"] for one in buckets if str(one["model_version"]) == version)


def _spread(statistics: Statistics) -> list[float | None]:
    counts = [one["predictions"] for one in statistics["probability"]]
    total = sum(counts)
    return [count / total if total else None for count in counts]


def _by_number(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isdigit() else (-1, version)
