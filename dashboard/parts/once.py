"""Secrets that a service tells once: shown until they are kept, and nowhere after that."""

from __future__ import annotations

import streamlit as st


def offer(name: str, says: str, secret: str) -> None:
    """Keep a secret for the page's next look, and look."""
    st.session_state[_key(name)] = (says, secret)
    st.rerun()


def shown_once(name: str) -> None:
    """Show the secret that waits, if one does, until its reader says that they have it."""
    found = st.session_state.get(_key(name))
    if found is None:
        return
    says, secret = found
    with st.container(border=True):
        st.success(f"{says} It cannot be shown again.", icon=":material/key:")
        st.code(secret, language=None)
        if st.button("I have it", key=f"once-{name}-kept"):
            del st.session_state[_key(name)]
            st.rerun()


def _key(name: str) -> str:
    return f"once-{name}"
