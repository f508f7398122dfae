"""The parts of a page, of which one is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from dashboard.parts.current import Current

Part = Callable[[Current], None]


def part_of(page: str, parts: Mapping[str, Part]) -> Part:
    """Return what draws the chosen part, the first of them to begin with.

    The address names it (:func:`query` gives the words), so a part outlives a reload and can be linked to.
    """
    names = list(parts)
    chosen = st.segmented_control(
        "Part",
        names,
        default=names[0],
        required=True,
        label_visibility="collapsed",
        key=_key(page),
        bind="query-params",
    )
    return parts[chosen]


def query(page: str, part: str) -> dict[str, str]:
    """Return what an address says to show a part of a page."""
    return {_key(page): part}


def _key(page: str) -> str:
    return f"{page}-part"
