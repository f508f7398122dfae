"""Users: who may log in, with which role; passwords that were made up are shown once."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.parts import words
from dashboard.parts.current import Current, me
from dashboard.parts.once import offer, shown_once
from dashboard.parts.status import busy, there, told
from dashboard.parts.tables import table

_COLUMNS = ("name", "role", "email", "disabled", "must_change", "created_at")
_ROLES = ("user", "admin")


def show() -> None:
    """Draw the page."""
    who = me()
    st.title("Users")
    if not there("data"):
        return
    shown_once("users")
    with told():
        with busy("Reading the users ..."):
            users = who.call.get("data", "/users")["users"]
        _list(users)
        left, right = st.columns(2, gap="large")
        with left:
            _add(who)
        with right:
            _change(who, users)


def _list(users: list[dict[str, Any]]) -> None:
    rows = [{**user, "created_at": words.moment(user["created_at"])} for user in users]
    table(
        rows,
        _COLUMNS,
        name="users",
        key="users",
        column_config={
            "email": "mail address",
            "disabled": st.column_config.CheckboxColumn("disabled"),
            "must_change": st.column_config.CheckboxColumn("must change password"),
            "created_at": "created (UTC)",
        },
    )


def _add(who: Current) -> None:
    st.subheader("Add a user")
    with st.form("add-user", clear_on_submit=True):
        name = st.text_input("Name", max_chars=64, help="Small letters, digits and . _ @ -, no sign first.")
        role = st.segmented_control("Role", _ROLES, default="user", required=True)
        email = st.text_input("Mail address", max_chars=254, help="Links for new passwords go there. May be empty.")
        if st.form_submit_button("Add", type="primary", icon=":material/person_add:"):
            with told():
                body = {"name": name.strip(), "role": role, "email": email.strip() or None}
                made = _asked(who, "POST", "/users", body)
                offer("users", f"{made['name']} logs in with this password, once:", made["password"])


def _change(who: Current, users: list[dict[str, Any]]) -> None:
    st.subheader("Change a user")
    with st.container(border=True):
        by_name = {user["name"]: user for user in users}
        name = st.selectbox("User", list(by_name), index=None, placeholder="Choose one", key="changed-user")
        if name is None:
            st.caption("Choose one to give them another role or password, to disable, enable or remove them.")
            return
        other = "user" if by_name[name]["role"] == "admin" else "admin"
        with st.container(horizontal=True):
            with st.popover("Role", icon=":material/badge:"):
                st.write(f"Make **{name}** {other}. Their sessions end, and keys of theirs that {other} may not have.")
                if st.button(f"Make {name} {other}", type="primary"):
                    _do(who, "PATCH", f"/users/{name}", {"role": other})
            with st.popover("Password", icon=":material/lock_reset:"):
                st.write(f"Give **{name}** a new password, to be changed at the next log-in. Their sessions end.")
                if st.button(f"Reset the password of {name}", type="primary"):
                    with told():
                        made = _asked(who, "POST", f"/users/{name}/reset")
                        offer("users", f"{name} logs in with this password, once:", made["password"])
                st.write("Or let them choose one: a link that works once. Nothing ends until they do.")
                if st.button(f"Make a link for {name}"):
                    with told():
                        made = _asked(who, "POST", f"/users/{name}/reset-link")
                        offer("users", f"{name} chooses a new password here, once:", made["link"])
            with st.popover("Mail", icon=":material/mail:"):
                email = st.text_input(
                    "New mail address", by_name[name]["email"] or "", max_chars=254, key=f"mail-{name}"
                )
                if st.button(f"Change the address of {name}", type="primary"):
                    _do(who, "PATCH", f"/users/{name}", {"email": email.strip() or None})
            _disable(who, name, disabled=by_name[name]["disabled"])
            with st.popover("Remove", icon=":material/person_remove:"):
                st.write(f"Remove **{name}**. Their sessions and keys end; what they did stays in the audit log.")
                if st.button(f"Remove {name}", type="primary"):
                    _do(who, "DELETE", f"/users/{name}")


def _disable(who: Current, name: str, *, disabled: bool) -> None:
    if disabled:
        with st.popover("Enable", icon=":material/person_check:"):
            st.write(f"Let **{name}** log in again, with the password of before. Their keys are good again.")
            if st.button(f"Enable {name}", type="primary"):
                _do(who, "PATCH", f"/users/{name}", {"disabled": False})
        return
    with st.popover("Disable", icon=":material/person_off:"):
        st.write(f"Let nobody log in as **{name}**. Their sessions end, and their keys rest until they are enabled.")
        if st.button(f"Disable {name}", type="primary"):
            _do(who, "PATCH", f"/users/{name}", {"disabled": True})


def _do(who: Current, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    with told():
        _asked(who, method, path, body)
        st.rerun()


def _asked(who: Current, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    with busy("Changing it ..."):
        return who.call.send("data", method, path, body)
