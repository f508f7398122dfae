"""What the online store knows of an entity, and how that stands among other rows of the same views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import streamlit as st

from core.errors import PunctualError
from dashboard.parts import marks, words
from dashboard.parts.contract import Contract
from dashboard.parts.current import Current

_ROWS = 1000
_MOST_TEXTS = 200
_STATUS = {"present": "green", "stale": "orange", "expired": "red", "missing": "gray"}


def look_up(who: Current, key: Any) -> dict[str, Any]:
    """Return what the store knows of an id.

    Raises
    ------
    UnknownEntity
        When it knows nothing.
    """
    return dict(who.call.get("prediction", f"/features/{quote(str(key), safe='')}"))


def rows(who: Current, view: str) -> list[dict[str, Any]]:
    """Return some rows of a view, those of the newest windows; none where the data service cannot say."""
    try:
        return _rows(who.call, view)
    except PunctualError:
        return []  # what is compared with is a help, and its absence is shown by the strip


@st.cache_data(ttl=60, show_spinner=False, max_entries=200)
def _rows(_call: Any, view: str) -> list[dict[str, Any]]:
    return list(_call.get("data", "/data/preview", table=view, layer="features", limit=_ROWS)["rows"])


def seen_texts(who: Current, contract: Contract) -> dict[str, list[str]]:
    """Return, for every input that is a text, the values that have been seen, the commonest first."""
    out = {}
    for field in contract.inputs:
        if field.kind == "text" and field.view and field.feature:
            found = [row.get(field.feature) for row in rows(who, field.view)]
            counted: dict[str, int] = {}
            for value in found:
                if value is not None:
                    counted[str(value)] = counted.get(str(value), 0) + 1
            out[field.name] = sorted(counted, key=lambda text: (-counted[text], text))[:_MOST_TEXTS]
    return out


def cards(who: Current, known: Mapping[str, Any], version: str | None) -> None:
    """Show every view: how fresh it is, and each of its features among what the model learned from.

    Features that the model does not look at stand among rows of their view, and so do all while that is not known.
    """
    learned = _learned_from(who, version) if version else {}
    st.subheader("What is known")
    grey = f"rows that model {version} learned from" if learned else "rows of the view, of the newest windows"
    st.caption(
        f"As of {words.moment(known['now'])} UTC, by the problem's clock. Grey bars: up to {_ROWS:,} {grey}; "
        "what is orange is this entity."
    )
    for name, view in known["views"].items():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{name}**", width="content")
            st.badge(view["status"], color=_colour(view["status"]))
            st.caption(_freshness(view), width="content")
        values: Mapping[str, Any] = view["values"]
        among = {one: _comparable(learned.get(one), value) for one, value in values.items()}
        if not all(among.values()):
            others = rows(who, name)
            among = {one: column or _column(others, one) for one, column in among.items()}
        st.html(marks.facts([marks.fact(one, value, among[one]) for one, value in values.items()]))


def _comparable(column: list[Any] | None, value: Any) -> list[Any]:
    """Return a column of what a model learned from, if a value can be compared with it: categories are texts there."""
    texts = any(isinstance(one, str) for one in column or ())
    return [] if column is None or (texts and not isinstance(value, str | None)) else column


def _learned_from(who: Current, version: str) -> Mapping[str, list[Any]]:
    try:
        return _sample(who.call, version)
    except PunctualError:
        return {}  # an old model has none; what is compared with is a help


@st.cache_data(ttl=600, show_spinner=False, max_entries=20)
def _sample(_call: Any, version: str) -> dict[str, list[Any]]:
    path = f"/models/{quote(version, safe='')}/learned-from"
    return dict(_call.get("prediction", path, limit=_ROWS)["features"])


def _column(others: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in others if name in row]


def _colour(status: str) -> Any:
    return _STATUS.get(status, "gray")


def _freshness(view: Mapping[str, Any]) -> str:
    if view["age_seconds"] is None:
        return "nothing is known"
    promise = view["promise"]["freshness_seconds"]
    promised = f", promised {words.age(promise)} at most" if promise else ""
    return f"known for {words.age(view['age_seconds'])}{promised}"
