"""Predict: find an entity by its id, see what is known of it, ask, ask what if, and look back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.clock import SystemClock
from core.errors import Conflict, PunctualError
from dashboard.parts import explain, features, history, marks, words
from dashboard.parts.contract import Contract, changes, read_contract
from dashboard.parts.current import Current, me
from dashboard.parts.search import choose_entity
from dashboard.parts.status import busy, there, told
from dashboard.parts.widgets import ask_all

_SHOWN = "predict-shown"
_CLASSES = ("no", "yes")  # while nobody can say what they are called


def show() -> None:
    """Draw the page."""
    who = me()
    title = st.empty()
    title.title("Predict")
    key, classes = None, _CLASSES
    if there("prediction"):
        with told():
            with busy("Reading what can be asked ..."):
                contract = _contract(who.call)
                key = contract.key.name
                served = _served(who)
                classes = served.classes
            title.title(contract.title)
            typed = choose_entity(who, contract)
            if typed:
                _entity(who, contract, typed, served)
    history.asked(who, key, classes)


@st.cache_data(ttl=10, show_spinner=False)
def _contract(_call: Any) -> Contract:
    return read_contract(_call.get("prediction", "/openapi.json"))


@dataclass(frozen=True)
class _Served:
    """What is served: its version, class names and threshold."""

    version: str | None = None
    classes: tuple[str, str] = _CLASSES
    threshold: float | None = None


def _served(who: Current) -> _Served:
    found = who.call.get("prediction", "/models/available")
    for model in found["models"]:
        if model["version"] == found["serving"]:
            no, yes = model["classes"]
            return _Served(model["version"], (no, yes), float(model["threshold"]))
    st.info("No model is served yet. The first training that passes its gate brings one.")
    return _Served()


def _entity(who: Current, contract: Contract, typed: str, served: _Served) -> None:
    key = contract.key.read(typed)
    with busy(f"Looking up {typed} ..."):
        known = features.look_up(who, key)
    missing = [name for name in known["must_be_sent"] if name != contract.key.name]
    left, right = st.columns(2, gap="large")
    with left:  # what is asked comes first on a phone
        if missing:
            st.info(f"To predict, fill in {', '.join(missing)} below: the store does not know it.")
        elif st.button("Predict", type="primary", icon=":material/online_prediction:"):
            with told():
                _ask(who, contract, {contract.key.name: key}, {}, what_if=False)
        before = st.session_state.get(_SHOWN)
        shown = before if before and before["entity"] == str(key) else None
        if shown:
            _result(shown, served.classes, served.threshold)
        elif not missing:
            st.caption("Nothing was predicted for it here yet.")
        if contract.inputs:
            _what_if(who, contract, key, known)
    if shown:
        with right:
            _why(shown, served.classes)
    with busy("Comparing it with other rows ..."):
        features.cards(who, known, served.version)
    history.similar(who, contract.key.name, str(key), served.classes, shown)


def _what_if(who: Current, contract: Contract, key: Any, known: Mapping[str, Any]) -> None:
    with st.expander("What if …", icon=":material/tune:", expanded=bool(known["must_be_sent"])):
        with st.form(f"what-if-{key}", border=False):
            st.caption("Change what you like; everything else stays as the store knows it.")
            with busy("Reading what can be chosen ..."):
                seen = features.seen_texts(who, contract)
            given = ask_all(contract.inputs, known["keys"], seen, key=f"what-if-{key}")
            sent = st.form_submit_button("Ask what if", icon=":material/question_mark:")
        if sent:
            changed = changes(known["keys"], given)
            if changed:
                # What the store does not know must be sent: that alone is no what-if.
                what_if = not changed.keys() <= set(known["must_be_sent"])
                with told():
                    _ask(who, contract, {contract.key.name: key, **changed}, changed, what_if=what_if)
            else:
                st.info("Nothing was changed, so there is nothing to ask.")


def _ask(who: Current, contract: Contract, entity: dict[str, Any], changed: dict[str, Any], *, what_if: bool) -> None:
    """Predict, explain, remember; and show it from the top of the page."""
    body = {"entities": [entity], **({"what_if": True} if what_if else {})}
    with busy("Predicting ..."):
        answer = who.call.send("prediction", "POST", "/predict", body)["predictions"][0]
        why: dict[str, Any] | None = None
        try:
            why = who.call.get("prediction", f"/explain/{answer['prediction_id']}")["explanation"]
            note = ""
        except Conflict as error:
            note = str(error)
        except PunctualError as error:
            note = f"It could not be explained just now: {error}"
    before = st.session_state.get(_SHOWN)
    key = str(entity[contract.key.name])
    row = {
        "at": SystemClock().now().isoformat(timespec="seconds"),
        "entity": key,
        "asked": _in_words(changed, what_if=what_if),
        **{name: answer[name] for name in ("class", "probability", "model_version", "prediction_id", "stale")},
        "what_if": what_if,
    }
    plain = before and before["entity"] == key and (before if before["plain"] else before["base"])
    who.session.history.appendleft(row)
    st.session_state[_SHOWN] = {
        **row,
        "why": why,
        "note": note,
        "plain": not what_if,
        "base": plain if what_if and plain else None,
    }
    st.rerun()


def _in_words(changed: Mapping[str, Any], *, what_if: bool) -> str:
    sent = ", ".join(f"{name} = {words.value(value)}" for name, value in changed.items())
    return f"{'what if' if what_if else 'with'} {sent}" if sent else "as it is"


def _result(shown: Mapping[str, Any], classes: tuple[str, str], threshold: float | None) -> None:
    base = shown["base"]
    probability = shown["probability"]
    with st.container(border=True):
        if not shown["plain"]:
            st.caption(f"Asked {shown['asked']}")
        difference = f"{(probability - base['probability']) * 100:+.1f} points" if base else None
        with st.container(horizontal=True):
            st.metric("Prediction", shown["class"], width="content")
            st.metric(f"Probability of {classes[1]}", words.share(probability), difference, "off", width="content")
        limit = f", called {classes[1]} from {threshold:.0%} on" if threshold is not None else ""
        st.html(marks.odds(probability, threshold, f"Probability {words.share(probability)}{limit}"))
        st.caption(f"Model {shown['model_version']}{limit}.")
        if shown["stale"]:
            st.warning(f"Older than promised: {', '.join(shown['stale'])}.", icon=":material/history:")
        st.caption(f"Prediction `{shown['prediction_id']}`")


def _why(shown: Mapping[str, Any], classes: tuple[str, str]) -> None:
    if shown["why"]:
        st.markdown("**What drove it**")
        explain.bars(shown["why"], classes)
    elif shown["note"]:
        st.info(shown["note"])
