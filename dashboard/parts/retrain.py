"""What a training may do differently: a form made of what the training service says can be set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import streamlit as st

from dashboard.parts import jobs
from dashboard.parts.contract import sent
from dashboard.parts.current import Current


def form(who: Current, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Ask for candidates, parameters and rows, and start the training."""
    default = [name for name, one in options.items() if one["default"]]
    chosen = st.pills("Candidates", list(options), selection_mode="multi", default=default, key="train-candidates")
    with st.expander("Other parameters, other rows", icon=":material/tune:"):
        given = {name: _parameters(name, options[name]["parameters"]) for name in chosen}
        with st.container(horizontal=True):
            since = st.date_input("Learn from moments from (UTC)", None, key="train-since", width=240)
            until = st.date_input("before (UTC)", None, key="train-until", width=240)
    with st.container(horizontal=True, vertical_alignment="center"):
        promote = st.toggle("The gate may promote what passes it", value=True, key="train-promote", width="content")
        if st.button("Retrain", type="primary", icon=":material/model_training:", disabled=not chosen):
            body = request(options, chosen, given, since=since, until=until, promote=promote)
            jobs.start(who, "training", "/training/train", body)


def request(
    options: Mapping[str, Mapping[str, Any]],
    chosen: Sequence[str],
    given: Mapping[str, Mapping[str, Any]],
    *,
    since: date | None = None,
    until: date | None = None,
    promote: bool = True,
) -> dict[str, Any]:
    """Return the body that asks for a training: what is as usual is left out, so that an ordinary run is one."""
    body: dict[str, Any] = {"promote": promote}
    if set(chosen) != {name for name, one in options.items() if one["default"]}:
        body["candidates"] = list(chosen)
    changed = {
        name: {
            parameter: value
            for parameter, value in given.get(name, {}).items()
            if value is not None and value != options[name]["parameters"][parameter]["default"]
        }
        for name in chosen
    }
    if overrides := {name: values for name, values in changed.items() if values}:
        body["overrides"] = overrides
    if since:
        body["since"] = sent(datetime.combine(since, time()))
    if until:
        body["until"] = sent(datetime.combine(until, time()))
    return body


def _parameters(name: str, parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    st.markdown(f"**{name}**")
    with st.container(horizontal=True):
        return {parameter: _ask(name, parameter, one) for parameter, one in parameters.items()}


def _ask(name: str, parameter: str, one: Mapping[str, Any]) -> Any:
    kind: Any = int if one["type"] == "integer" else float
    default = None if one["default"] is None else kind(one["default"])
    return st.number_input(
        parameter,
        kind(one["minimum"]),
        kind(one["maximum"]),
        default,
        step=1 if kind is int else None,
        format=None if kind is int else "%g",
        help=f"{one['description']}, {one['minimum']:g} to {one['maximum']:g}.",
        key=f"train-{name}-{parameter}",
        placeholder="the library's own",
        width=200,
    )
