"""What Streamlit runs for every look at a page: who is asking, which pages are theirs, and the one they chose."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.pages import pages_of
from dashboard.parts import frame, status
from dashboard.parts.current import current

ICON = Path(__file__).with_name("icon.png")


def main() -> None:
    """Draw the chosen page inside its frame."""
    st.set_page_config(page_title="punctual", page_icon=ICON, layout="wide")
    me = current(active=True)
    if me is None:
        frame.over()
        return
    page = st.navigation(pages_of(me.session), position="sidebar")
    frame.sidebar(me.session)
    status.strip()
    page.run()


main()
