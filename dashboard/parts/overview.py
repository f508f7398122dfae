"""How the model is: the last turn in words, open alarms, freshness, skew, and the way to another turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.parts import alarms, decided, jobs, skew, words
from dashboard.parts.current import Current
from dashboard.parts.status import busy, told

VERDICTS: dict[str, tuple[Any, str]] = {
    "drift": ("red", ":material/trending_up:"),
    "no drift": ("green", ":material/check_circle:"),
    "too few rows": ("gray", ":material/hourglass_empty:"),
}
_WIDTHS = {"": 24, "view": 118, "newest row": 104, "promised": 72}  # pixels: as wide as the column is beside the turn
_ACTING = "With it off, the turn looks, raises alarms, and says what it would have decided."
_LOOKS = ("truth", "performance", "drift", "freshness", "skew")


def show(who: Current) -> None:
    """Draw it all."""
    with busy("Reading what was found ..."):
        found = who.call.get("monitoring", "/monitoring/turns", limit=1)["turns"]
    left, right = st.columns((3, 2), gap="large")
    with left:
        _turn(found[0] if found else None)
        with told():
            alarms.opened(who)
        _start(who)
    with right:
        with told():
            _freshness(who)
        if found:
            skew.show(found[0]["skew"])


def _turn(turn: Mapping[str, Any] | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("The last turn", width="content")
        if turn:
            verdict(turn["drift"].get("verdict"))
    if turn is None:
        st.info("No turn was taken yet: nobody has looked at the model so far.")
        return
    for sentence in sentences(turn):
        st.write(words.literal(sentence))


def verdict(given: str | None) -> None:
    """Show a verdict on drift as a badge; None is one that could not be reached."""
    colour, icon = VERDICTS.get(given or "", ("orange", ":material/help:"))
    st.badge(given or "not looked at", color=colour, icon=icon)


def sentences(turn: Mapping[str, Any]) -> list[str]:
    """Return a turn in words: what it looked at, what it found, what it decided."""
    version = turn["model_version"]
    looked = f"It looked at {words.moment(turn['since'])} to {words.moment(turn['until'])} UTC, " + (
        f"and at model version {version}." if version else "and there was no model to judge."
    )
    out = [looked]
    for name in _LOOKS:
        if error := turn[name].get("error"):
            out.append(f"It could not look at {name}: {error}")
    if "error" not in turn["truth"] and "new" in turn["truth"]:
        out.append(f"{turn['truth']['new']:,} predictions have labels that no training has seen.")
    if reasons := turn["drift"].get("reasons"):
        out.append(f"Drift: {'; '.join(reasons)}.".replace("..", "."))
    for one in turn["performance"].get("windows", []):
        measures = (one["auc"], one["brier"])
        said = (
            "too few labels to tell how good"
            if None in measures
            else "AUC {:.3f}, Brier score {:.3f}".format(*measures)
        )
        out.append(
            f"Version {one['model_version']}: {said} ({one['rows']:,} labels, {one['waiting']:,} still to come)."
        )
    for decision in (turn["rollback"], turn["decision"]):
        if decision:
            out.append(decided.sentence(decision))
    return out


def _start(who: Current) -> None:
    st.subheader("Take a turn")
    with st.container(horizontal=True, vertical_alignment="center"):
        act = st.toggle("It may act", value=True, key="turn-act", width="content", help=_ACTING)
        if st.button("Take a turn", type="primary", icon=":material/radar:"):
            jobs.start(who, "monitoring", "/monitoring/run", {"act": act})
    st.caption("It may train again, promote, and roll back." if act else "It looks and raises alarms, and no more.")
    with told():
        jobs.section(who, "monitoring")


def _freshness(who: Current) -> None:
    st.subheader("Freshness")
    views = who.call.get("monitoring", "/monitoring/freshness")["views"]
    if not views:
        st.caption("No feature view is online.")
        return
    stale = [one["view"] for one in views if not one["fresh"]]
    if stale:
        st.warning(f"Older than promised: {', '.join(stale)}.", icon=":material/history:")
    else:
        st.success("Every view is as fresh as promised.", icon=":material/check:")
    rows = [
        {
            "": "✓" if one["fresh"] else "✗",
            "view": one["view"],
            "newest row": f"{words.age(one['age_seconds'])}{' ago' if one['age_seconds'] is not None else ''}",
            "promised": words.age(one["promise_seconds"]) if one["promise_seconds"] is not None else "any age",
        }
        for one in views
    ]
    widths = {name: st.column_config.TextColumn(width=width) for name, width in _WIDTHS.items()}
    st.dataframe(rows, hide_index=True, column_config=widths)
