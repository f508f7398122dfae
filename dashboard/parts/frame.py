"""What is around every page: who is logged in, the way out, and what is left when a session is over."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.front import LOGIN, LOGOUT, PASSWORD, TO_LOGIN

if TYPE_CHECKING:
    from dashboard.session import Session

# Streamlit draws captions, the words at the axes of charts, and in the dark those on main buttons in colours that are
# too near to what is behind them, and no option of its theme changes that. What has the focus it marks in many ways,
# some of them hardly seen: here it is one ring, in a blue that is seen on white and on black.
_STYLE = """<style>
[data-testid="stCaptionContainer"] { opacity: .8; }
[data-testid="stPlotlyChart"] :is(.xtick text, .ytick text, .cbaxis text, .xtitle, .ytitle, .annotation-text),
[data-testid="stVegaLiteChart"] svg text {
  fill: currentColor !important; }
[data-testid^="stBaseButton-primary"]:enabled { background: #1f6fb2; border-color: #1f6fb2; color: #fff; }
[data-testid^="stBaseButton-primary"]:enabled:hover { background: #195a91; border-color: #195a91; }
:where(a, button, main, summary, [role="slider"]):focus-visible,
label:has(input:focus-visible), :has(> input:focus-visible) {
  outline: 2px solid #3a86cc !important; outline-offset: 1px; }
main:focus-visible { outline-offset: -2px; }
.block-container { padding-top: 4rem; }
.block-container h1 { font-size: 2rem; padding: .5rem 0; }
@media (min-width: 60rem) { .block-container { padding-left: 3rem; padding-right: 3rem; } }
[data-testid="stElementContainer"]:has(.busy) { height: 0; margin-top: -1rem; overflow: visible; z-index: 100; }
.busy { display: inline-flex; gap: .5rem; align-items: center; margin-top: .75rem; padding: .25rem .75rem;
  border: 1px solid color-mix(in srgb, CanvasText 25%, transparent); border-radius: 1rem; background: Canvas;
  color: CanvasText; animation: seen .15s .1s both; }
.busy i { width: .9rem; height: .9rem; border-radius: 50%; border: 2px solid; border-right-color: transparent;
  animation: turn 1s linear infinite; }
@keyframes seen { from { opacity: 0; } }
@keyframes turn { to { transform: rotate(1turn); } }
@media (prefers-reduced-motion: reduce) { .busy i { animation: none; } }
form.out { margin: 0; display: flex; gap: .5rem; flex-wrap: wrap; align-items: center; }
form.out button, form.out a { font: inherit; color: inherit; background: transparent; text-decoration: none;
  border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: .5rem; padding: .3rem .75rem;
  cursor: pointer; }
form.out button:hover, form.out a:hover { border-color: currentColor; }
</style>"""


def sidebar(session: Session) -> None:
    """Show who is logged in, with the way to another password and out."""
    st.html(_STYLE)
    with st.sidebar:
        st.caption(f"Logged in as **{session.user}** ({session.role})")
        # A form of plain HTML: only an answer of the server can take the cookie away.
        st.html(
            f'<form class="out" method="post" action="{LOGOUT}"><input type="hidden" name="form" '
            f'value="{escape(session.form_token)}"><button type="submit">Log out</button>'
            f'<a href="{PASSWORD}" target="_self">Change password</a></form>'
        )


def over() -> None:
    """Say that the session is over, and go on to the log-in."""
    st.info("Your session is over. You are being taken to the log-in.", icon=":material/lock:")
    st.html(f'<a href="{LOGIN}" target="_self">Log in</a>')
    st.html(f"<script>{TO_LOGIN}</script>", unsafe_allow_javascript=True)
