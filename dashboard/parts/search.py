"""Choosing an entity: its id found by any part of it, or typed whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from core.errors import PunctualError
from dashboard.parts.status import busy

if TYPE_CHECKING:
    from dashboard.parts.contract import Contract
    from dashboard.parts.current import Current

_MOST = 50


def choose_entity(who: Current, contract: Contract, *, key: str = "predict-entity") -> str | None:
    """Ask for an id: a part of it finds those that contain it, and any other can be typed.

    Parameters
    ----------
    who : Current
        Who asks.
    contract : Contract
        What the id is called.
    key : str
        Of the widget that holds the id; the search before it has ``<key>-search``.

    Returns
    -------
    str or None
        The id as it is shown, to be read by ``contract.key.read``; None until one is chosen.
    """
    name = contract.key.name.replace("_", " ")
    looking = st.container()  # above the two: between them, what is said would push them apart
    with st.container(horizontal=True, vertical_alignment="bottom"):
        part = st.text_input(
            f"Find a {name}",
            key=f"{key}-search",
            max_chars=200,
            icon=":material/search:",
            placeholder="Any part of it",
            help="Those that contain it are offered, the newest first.",
            width=240,
        ).strip()
        with looking, busy("Searching ..."):
            ids, note = _ids(who, part)
        picked = st.selectbox(
            name,
            ids,
            index=None,
            accept_new_options=True,
            key=key,
            placeholder="Choose one, or type any id" if ids else "Type an id",
            help="The list holds what was found; any other id can be typed.",
            width=480,
        )
    if note:
        st.caption(note)
    return str(picked) if picked else None


def _ids(who: Current, part: str) -> tuple[list[str], str]:
    """Return the ids to offer, and what there is to say of them."""
    try:
        found = _found(who.call, part)
    except PunctualError as error:  # the search is a help: an id can be typed without it
        return [], f"Nothing can be searched just now: {error}"
    ids = [str(one) for one in found["ids"]]
    if found["whole"]:
        return ids, "" if ids or not part else f"No id that is known contains {part!r}. It can be typed all the same."
    if part:
        return ids, f"The newest {len(ids)} that contain it, or that were found in time. Type more of it for others."
    return ids, ""


@st.cache_data(ttl=10, show_spinner=False, max_entries=200)
def _found(_call: Any, part: str) -> dict[str, Any]:
    return dict(_call.get("data", "/data/entities", search=part, limit=_MOST))
