"""The stages of the pipeline, one at a time: what each does, and how fresh the views are that one of them writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.parts import jobs, words
from dashboard.parts.current import Current
from dashboard.parts.status import busy, told

# In the order of dvc.yaml; each is a job of the data service.
STAGES = {
    "import": ("Fetch the next window", "The raw rows that became available since the last one."),
    "validate": ("Validate", "Rows that break the schema go to quarantine, with the reason."),
    "apply": ("Apply the definitions", "Entities, feature views and services as the feature repo says now."),
    "preprocess": ("Make features", "The definitions are applied, and feature rows computed of what is valid."),
    "materialize": ("Materialize", "What arrived goes into the online store, of all views or of those chosen below."),
    "dataset": ("Build the rows to learn from", "Labels with what was known at their moment; a training does it too."),
}


def show(who: Current) -> None:
    """Offer every stage."""
    with st.expander("One stage at a time", icon=":material/steppers:", expanded=True):
        started = None
        for stage, (label, note) in STAGES.items():
            with st.container(horizontal=True, vertical_alignment="center"):
                if st.button(label, key=f"stage-{stage}", width=220):
                    started = stage
                st.caption(note, width="content")
            if stage == "materialize":
                views = _views(who)
        st.caption("What comes next, a training, is on the page Training.")
    if started:
        jobs.start(who, "data", f"/data/{started}", {"views": views} if started == "materialize" and views else None)


def _views(who: Current) -> list[str]:
    """Show how fresh the views are, and return which of them are to be written; none for all."""
    with told():
        with busy("Reading how fresh the views are ..."):
            found = who.call.get("monitoring", "/monitoring/freshness")["views"]
        with st.container(horizontal=True, gap="small"):
            for one in found:
                st.badge(freshness(one), color="green" if one["fresh"] else "orange")
        return st.multiselect(
            "Views to materialize", [one["view"] for one in found], key="stage-views", placeholder="all", width=480
        )
    return []


def freshness(view: Mapping[str, Any]) -> str:
    """Return in words how old a view is online, and how old it may be."""
    age, promise = view["age_seconds"], view["promise_seconds"]
    old = "nothing is online" if age is None else f"{words.age(age)} old"
    promised = "may be of any age" if promise is None else f"promised {words.age(promise)} at most"
    return f"{words.literal(view['view'])}: {old}, {promised}"
