"""What a turn found of skew: logged vectors rebuilt offline, and sampled rows that are online now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from dashboard.parts import words


def show(found: Mapping[str, Any]) -> None:
    """Draw the turn's look at skew; a turn of before rows were sampled has none of those."""
    st.subheader("Skew")
    _compared(found, "Vectors", logged)
    if "sampled" in found:
        st.markdown("**Online now**")
        _compared(found["sampled"], "Rows", sampled)


def logged(found: Mapping[str, Any]) -> list[str]:
    """Say how much of the log was compared, and what was left out."""
    out = [
        f"Compared {found['rows']:,} logged vectors of the turn's window with what history says, as of the moment of "
        "each prediction."
    ]
    if gone := found.get("left_out"):
        most = sorted(gone.items(), key=lambda one: -one[1])
        out.append(f"Left out: {', '.join(f'{reason} ({count:,})' for reason, count in most)}.")
    return out


def sampled(found: Mapping[str, Any]) -> list[str]:
    """Say how much of what is online was compared."""
    return [
        f"Compared {found['rows']:,} rows with what history says now (sampled): of every view the entities that "
        "changed last."
    ]


def _compared(found: Mapping[str, Any], unit: str, say: Callable[[Mapping[str, Any]], list[str]]) -> None:
    if "error" in found:
        st.warning(words.literal(found["error"]))
        return
    for sentence in say(found):
        st.caption(words.literal(sentence))
    different = sum(found["unexplained"].values())
    with st.container(horizontal=True, gap="medium"):
        st.metric(unit, f"{found['rows']:,}", width="content")
        st.metric("Values", f"{found['values']:,}", width="content")
        st.metric("Differ", f"{different:,}", width="content")
    if different:
        counts = [{"feature": name, "values that differ": count} for name, count in found["unexplained"].items()]
        st.dataframe(counts, hide_index=True)
        with st.expander("Examples"):
            st.code("\n".join(found.get("examples", [])), language=None, wrap_lines=True)
    for reason, count in found.get("explained", {}).items():
        st.caption(words.literal(f"{count:,} more differ, as they should: {reason}"))
