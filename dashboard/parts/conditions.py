"""Conditions on the rows of a table, put together by hand: a column, what to ask of it, and a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.conditions import ALONE, MAX_CHARACTERS, MAX_CONDITIONS, OPERATORS, Condition

_HINTS = {"BOOLEAN": "true or false", "DATE": "2024-03-01", "VARCHAR": "any text"}
_MOMENT = "2024-03-01 12:00, UTC"
_Draft = dict[str, Any]


def ask_conditions(types: Mapping[str, str], *, key: str) -> list[Condition]:
    """Ask for conditions and return those that are complete.

    Parameters
    ----------
    types : mapping of str to str
        Column to DuckDB type.
    key : str
        The widgets' own. What was put together stays under it while the page shows something else.
    """
    drafts: dict[int, _Draft] = st.session_state.setdefault(f"{key}-conditions", {})
    with st.container(gap="xsmall"):
        found = [_ask(types, draft, drafts, number, key=f"{key}-{number}") for number, draft in list(drafts.items())]
        st.button(
            "Add a condition",
            icon=":material/filter_alt:",
            key=f"{key}-add",
            on_click=_add,
            args=(drafts,),
            disabled=len(drafts) >= MAX_CONDITIONS,
        )
    if None in found:
        st.caption("What has no column or no value yet is left out.")
    return [one for one in found if one is not None]


def _ask(
    types: Mapping[str, str], draft: _Draft, drafts: dict[int, _Draft], number: int, *, key: str
) -> Condition | None:
    for name, value in draft.items():  # widgets that were not drawn for a while have forgotten theirs
        st.session_state.setdefault(f"{key}-{name}", value)
    names = list(types)
    if st.session_state[f"{key}-column"] not in names:
        st.session_state[f"{key}-column"] = None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        column = st.selectbox("Column", names, index=None, key=f"{key}-column", placeholder="Choose one", width=220)
        operator = st.selectbox("is", OPERATORS, key=f"{key}-operator", width=150)
        value = st.text_input(
            "Value",
            key=f"{key}-value",
            max_chars=MAX_CHARACTERS,
            placeholder=_hint(types.get(column or "", ""), operator),
            disabled=operator in ALONE,
            width=280,
        )
        st.button("Remove", icon=":material/close:", key=f"{key}-remove", on_click=_remove, args=(drafts, number))
    draft.update(column=column, operator=operator, value=value)
    if column is None or (operator not in ALONE and not value):
        return None
    return Condition(column, operator, "" if operator in ALONE else value)


def _add(drafts: dict[int, _Draft]) -> None:
    drafts[max(drafts, default=0) + 1] = {"column": None, "operator": OPERATORS[0], "value": ""}


def _remove(drafts: dict[int, _Draft], number: int) -> None:
    drafts.pop(number, None)


def _hint(kind: str, operator: str) -> str:
    if operator in ALONE:
        return "none is needed"
    if operator == "contains":
        return "any part of it"
    return _MOMENT if kind.startswith("TIMESTAMP") else _HINTS.get(kind, "a number" if kind else "")
