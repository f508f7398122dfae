"""Training: train with other choices, watch it, compare what came of it, and say what is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard.parts import compare, jobs, retrain, words
from dashboard.parts.choice import part_of
from dashboard.parts.current import Current, me
from dashboard.parts.status import busy, there, told
from dashboard.parts.tables import table

_METRICS = ("auc", "average_precision", "brier", "log_loss", "f1", "precision", "recall")


def show() -> None:
    """Draw the page."""
    who = me()
    st.title("Training")
    if not there("training"):
        return
    part = part_of("training", {"Train": _train, "Models": _models, "Compare": compare.show, "Promotions": _promotions})
    with told():
        part(who)


def _train(who: Current) -> None:
    with busy("Reading the choices ..."):
        options = who.call.get("training", "/training/options")["candidates"]
    retrain.form(who, options)
    jobs.section(who, "training")


def _models(who: Current) -> None:
    with busy("Reading the registry ..."):
        found = who.call.get("training", "/training/models")
    versions = found["versions"]
    if not versions:
        st.caption("No model is registered yet.")
        return
    rows = [
        {
            "version": one["version"],
            "roles": ", ".join(one["roles"]),
            **{name: one["metrics"].get(name) for name in _METRICS},
            "registered": words.moment(one["registered_at"]),
        }
        for one in versions
    ]
    table(rows, tuple(rows[0]), name="models", key="models")
    _detail(who, [one["version"] for one in versions], found["roles"])


def _detail(who: Current, versions: Sequence[str], roles: dict[str, str]) -> None:
    version = st.selectbox("Version", versions, key="model-version", width=200)
    with busy("Reading the version ..."):
        one = who.call.get("training", f"/training/models/{version}")
    left, right = st.columns(2, gap="large")
    with left:
        if gate := one["tags"].get("promotion"):
            st.markdown("**What the gate said**")
            st.markdown("\n".join(f"- {words.literal(part.strip())}" for part in gate.split(";")))
        facts = {**one["lineage"], **one["params"]}
        st.dataframe([{"": name, "is": str(value)} for name, value in facts.items()], hide_index=True)
    with right:
        with told():
            with busy("Judging it week by week ..."):
                weeks = _weeks(who.call, version)
            if weeks:
                st.markdown("**AUC and Brier score by week of the test rows**")
                series = {name: [week[name] for week in weeks] for name in ("auc", "brier")}
                st.line_chart({"week": [week["week"] for week in weeks], **series}, x="week", height=260)
        _promote(who, version, roles)


@st.cache_data(ttl=60, show_spinner=False, max_entries=50)
def _weeks(_call: Any, version: str) -> list[dict[str, Any]]:
    return list(_call.get("training", f"/training/models/{version}/performance")["weeks"])


def _promote(who: Current, version: str, roles: dict[str, str]) -> None:
    with st.container(horizontal=True):
        if roles.get("champion") == version:
            st.badge("This is the champion", icon=":material/trophy:", color="green")
        else:
            with st.popover("Promote", icon=":material/upgrade:"):
                why = st.text_input("Why", max_chars=500, key=f"promote-why-{version}")
                if st.button(f"Make {version} the champion", type="primary", disabled=not why.strip()):
                    _do(who, f"/training/models/{version}/promote", {"reason": why.strip()})
        if "previous" in roles:
            with st.popover("Roll back", icon=":material/undo:"):
                st.write(f"Version **{roles['previous']}** serves again, at once.")
                why = st.text_input("Why", max_chars=500, key="rollback-why")
                if st.button("Roll back", type="primary", disabled=not why.strip()):
                    _do(who, "/training/rollback", {"reason": why.strip()})


def _promotions(who: Current) -> None:
    with busy("Reading the ledger ..."):
        rows = who.call.get("training", "/training/promotions", limit=500)["promotions"]
    if not rows:
        st.caption("Nothing was promoted yet.")
        return
    for row in rows:
        if row["action"] == "request" and row["status"] == "pending":
            with st.container(border=True):
                st.write(f"{row['requested_by']} asks to make version **{row['version']}** the champion.")
                st.caption(words.literal(words.several(row["reasons"])))
                if st.button("Agree", key=f"agree-{row['id']}", type="primary"):
                    _do(who, f"/training/models/{row['version']}/approve", None)
    shown = [{**row, "reasons": words.several(row["reasons"]), "at": words.moment(row["created_at"])} for row in rows]
    columns = ("at", "action", "version", "previous_version", "status", "requested_by", "approved_by", "reasons")
    table(shown, columns, name="promotions", key="promotions", height=480)


def _do(who: Current, path: str, body: dict[str, Any] | None) -> None:
    with told():
        with busy("Promoting ..."):
            done = who.call.send("training", "POST", path, body)
        st.toast(f"Version {done['version']}: {done['status']}", icon=":material/check:")
        st.rerun()
