"""What was decided on retraining and rollback, why, and what came of it, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.parts import words
from dashboard.parts.current import Current
from dashboard.parts.status import busy
from dashboard.parts.tables import table

_NEWEST = 8
Decision = Mapping[str, Any]  # as GET /monitoring/decisions lists one
_IDLE = "nothing to do: "  # how monitoring begins to say why: the sentence has said it then
_COLUMNS = ("at", "action", "outcome", "champion", "version", "triggers", "reasons", "job")
_SAID = {
    ("retrain", "nothing"): "It did not train again",
    ("retrain", "looked"): "It would have trained again, and was told to look alone",
    ("retrain", "pending"): "It trains again",
    ("retrain", "promoted"): "It trained again, and version {version} serves now",
    ("retrain", "waits"): "It trained version {version}, which waits for a second person to agree",
    ("retrain", "kept"): "It trained version {version}, and version {champion} stays",
    ("retrain", "failed"): "It wanted to train again, and could not",
    ("rollback", "nothing"): "Version {champion} stays",
    ("rollback", "looked"): "It would have rolled back version {champion}, and was told to look alone",
    ("rollback", "pending"): "It rolls back version {champion}",
    ("rollback", "rolled back"): "It rolled back version {champion}, and version {version} serves again",
    ("rollback", "kept"): "It wanted to roll back version {champion}, which stays all the same",
    ("rollback", "failed"): "It wanted to roll back version {champion}, and could not",
}
_ICONS = {"promoted": "upgrade", "rolled back": "undo", "failed": "error", "waits": "hourglass_top", "kept": "balance"}


def show(who: Current) -> None:
    """Show the newest in words, and all as a table."""
    with busy("Reading the decisions ..."):
        found = who.call.get("monitoring", "/monitoring/decisions", limit=500)["decisions"]
    if not found:
        st.info("Nothing was decided yet: the first turn does.")
        return
    for first, last, count in runs(found)[:_NEWEST]:
        icon = _ICONS.get(last["outcome"], "visibility")
        since = f"{words.moment(first['at'])} to " if count > 1 else ""
        often = f", {count} turns" if count > 1 else ""
        with st.container(border=True):
            st.caption(f":material/{icon}: {since}{words.moment(last['at'])} UTC{often}")
            st.write(words.literal(sentence(last)))
    st.subheader("All of them")
    rows = [
        {
            **decision,
            "at": words.moment(decision["at"]),
            "triggers": words.several(decision["triggers"]),
            "reasons": words.several(decision["reasons"]),
        }
        for decision in found
    ]
    table(rows, _COLUMNS, name="decisions", key="decisions", height=400)


def runs(found: Sequence[Decision]) -> list[tuple[Decision, Decision, int]]:
    """Return decisions, newest first, with the same said again and again as one: the first, the last, how many."""
    out: list[tuple[Decision, Decision, int]] = []
    for decision in found:
        if out and sentence(out[-1][1]) == sentence(decision):
            out[-1] = (decision, out[-1][1], out[-1][2] + 1)
        else:
            out.append((decision, decision, 1))
    return out


def sentence(decision: Decision) -> str:
    """Return a decision in a sentence or two: what, and why."""
    action, outcome = decision["action"], decision["outcome"]
    facts = {name: decision.get(name) or "?" for name in ("champion", "version")}
    said = _SAID.get((action, outcome), f"{action}: {outcome}").format(**facts)
    why = "; ".join(reason.removeprefix(_IDLE) for reason in decision["reasons"])
    return f"{said}: {why}." if why else f"{said}."
