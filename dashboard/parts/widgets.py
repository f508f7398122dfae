"""A form that fits the fields of a request: a widget for each kind of value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.parts.contract import as_moment

if TYPE_CHECKING:
    from dashboard.parts.contract import Field

_EXACT = 2**53 - 1  # the largest whole number that a browser keeps to the digit
_MINUTE = 60


def ask(field: Field, value: Any, known: Sequence[str] = (), *, key: str) -> Any:
    """Ask for one field and return what was given, None for nothing.

    Parameters
    ----------
    field : Field
        What to ask for.
    value : object
        What is known of it, to begin with.
    known : sequence of str
        Values of a text that have been seen: they are offered, and others can be typed.
    key : str
        The widget's own.
    """
    label, note = field.name.replace("_", " "), _note(field)
    if field.kind == "boolean":
        choices: list[Any] = [True, False] if value is not None else [None, True, False]
        shown = {None: "not known", True: "yes", False: "no"}
        return st.selectbox(label, choices, choices.index(value), format_func=shown.__getitem__, key=key, help=note)
    if field.kind == "moment":
        moment = as_moment(value)
        given = moment.replace(tzinfo=None) if moment else None
        picked = st.datetime_input(f"{label} (UTC)", given, key=key, help=note, step=_MINUTE)
        return as_moment(picked)
    if field.kind == "integer" and (value is None or abs(value) <= _EXACT):
        return st.number_input(label, value=value, step=1, key=key, help=note, placeholder="not known")
    if field.kind == "number":
        number = None if value is None else float(value)
        return st.number_input(label, value=number, step=_step(number), format="%g", key=key, help=note)
    text = "" if value is None else str(value)
    if known:
        choices = list(dict.fromkeys([*([text] if text else []), *known]))
        place = 0 if text else None
        return st.selectbox(label, choices, place, key=key, help=note, accept_new_options=True)
    typed = st.text_input(label, text, key=key, help=note)
    return int(typed) if field.kind == "integer" and typed.lstrip("-").isdigit() else typed


def ask_all(fields: Sequence[Field], values: Mapping[str, Any], known: Mapping[str, Sequence[str]], *, key: str) -> Any:
    """Ask for every field, side by side where there is room; return name to value."""
    out = {}
    with st.container(horizontal=True, gap="medium"):
        for field in fields:
            with st.container(width=240):
                out[field.name] = ask(
                    field, values.get(field.name), known.get(field.name, ()), key=f"{key}-{field.name}"
                )
    return out


def _note(field: Field) -> str | None:
    return f"Read from {field.view}: {field.feature} unless you change it." if field.view else None


def _step(value: float | None) -> float:
    """Return a step that changes the third digit or so: amounts and shares both can be stepped through."""
    if not value:
        return 0.1
    magnitude = abs(value)
    step = 1.0
    while step > magnitude / 10:
        step /= 10
    while step * 100 < magnitude:
        step *= 10
    return step
