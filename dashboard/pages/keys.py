"""API keys, for programs: issued and shown once, rotated, revoked."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.clock import SystemClock
from dashboard.parts import words
from dashboard.parts.contract import as_moment
from dashboard.parts.current import Current, me
from dashboard.parts.once import offer, shown_once
from dashboard.parts.status import busy, there, told
from dashboard.parts.tables import table

_SCOPES = ("predict", "read", "data", "train", "admin")
_UNITS = ("second", "minute", "hour", "day")
_COLUMNS = ("name", "id", "owner", "scopes", "state", "rate_limit", "created", "expires", "last_used")


def show() -> None:
    """Draw the page."""
    who = me()
    st.title("API keys")
    if not there("data"):
        return
    shown_once("keys")
    with told():
        with busy("Reading the keys ..."):
            keys = who.call.get("data", "/keys")["keys"]
        table([_row(key) for key in keys], _COLUMNS, name="keys", key="keys")
        left, right = st.columns(2, gap="large")
        with left:
            _issue(who)
        with right:
            _change(who, [key for key in keys if key["revoked_at"] is None])


def _row(key: dict[str, Any]) -> dict[str, Any]:
    return {
        **key,
        "scopes": ", ".join(key["scopes"]),
        "state": state(key),
        "created": words.moment(key["created_at"]),
        "expires": words.moment(key["expires_at"]),
        "last_used": words.moment(key["last_used_at"]),
    }


def state(key: dict[str, Any]) -> str:
    """Return ``good``, ``revoked`` or ``expired``."""
    if key["revoked_at"] is not None:
        return "revoked"
    until = as_moment(key["expires_at"])
    return "expired" if until is not None and until <= SystemClock().now() else "good"


def _issue(who: Current) -> None:
    st.subheader("Issue a key")
    with st.form("issue-key", clear_on_submit=True):
        name = st.text_input("What it is for", max_chars=64)
        scopes = st.pills("What it may do", _SCOPES, selection_mode="multi", default=["predict"])
        days = st.number_input("Days until it ends", 1, 3650, None, placeholder="no end")
        with st.container(horizontal=True):
            amount = st.number_input("Requests", 1, 999_999_999, None, placeholder="no limit of its own", width=220)
            unit = st.selectbox("in a", _UNITS, 1, width=120)
        if st.form_submit_button("Issue", type="primary", icon=":material/key:"):
            body: dict[str, Any] = {"name": name.strip(), "scopes": list(scopes)}
            if days:
                body["days"] = int(days)
            if amount:
                body["rate_limit"] = f"{int(amount)}/{unit}"
            with told():
                made = _asked(who, "POST", "/keys", body)
                offer("keys", f"The key for {made['name']}:", made["key"])


def _change(who: Current, keys: list[dict[str, Any]]) -> None:
    st.subheader("Change a key")
    with st.container(border=True):
        labels = {f"{key['name']} ({key['id']})": key for key in keys}
        chosen = st.selectbox("Key", list(labels), index=None, placeholder="Choose one", key="changed-key")
        if chosen is None:
            st.caption("Choose one to give it a new secret, or to end it.")
            return
        key = labels[chosen]
        with st.container(horizontal=True):
            with st.popover("Rotate", icon=":material/autorenew:"):
                grace = st.slider("Minutes for which the old secret stays good", 0, 24 * 60, 60, 15)
                if st.button("Make a new secret", type="primary"):
                    with told():
                        made = _asked(who, "POST", f"/keys/{key['id']}/rotate", {"grace_minutes": grace})
                        offer("keys", f"The new secret of {key['name']}:", made["key"])
            with st.popover("Revoke", icon=":material/block:"):
                st.write(f"Every service refuses **{key['name']}** within a second, for good.")
                if st.button(f"Revoke {key['name']}", type="primary"):
                    with told():
                        _asked(who, "DELETE", f"/keys/{key['id']}")
                        st.rerun()


def _asked(who: Current, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    with busy("Changing it ..."):
        return who.call.send("data", method, path, body)
