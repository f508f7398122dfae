"""Reports as one page of HTML: no scripts, no addresses, everything that comes from data escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#1f6fb2", "#d1711c")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #dde3ea; overflow-wrap: anywhere; }
td.n, th.n { text-align: right; white-space: nowrap; }
.warning { background: #fff4d6; border-left: 4px solid #d99b00; padding: .5rem .8rem; }
.better { color: #0b6b3a; } .worse { color: #a3262a; } .muted { color: #65707d; }
figure { margin: 1rem 0; } img { max-width: 100%; }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """Return a whole page; the title is text, the parts are HTML."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as a table: numbers to the right, floats to four digits, None as nothing."""
    body = "".join("<tr>" + "".join(map(cell, row)) + "</tr>" for row in rows)
    if not body:
        return '<p class="muted">None.</p>'
    return "<table><tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + f"</tr>{body}</table>"


def cell(value: Any) -> str:
    """Return one cell of a table."""
    if isinstance(value, float):
        return f'<td class="n">{value:.4f}</td>'
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    return f"<td>{escape('' if value is None else str(value))}</td>"


def image(draw: Callable[[], Figure], what: str) -> str:
    """Return a figure as an SVG inside of an image: whatever it holds, nothing of it runs.

    Parameters
    ----------
    draw : callable
        Draws what to show.
    what : str
        What it shows, for those who cannot see it.
    """
    import matplotlib as mpl

    held = io.BytesIO()
    # Names may hold dollar signs: no formula is meant by them.
    with mpl.rc_context({"text.parse_math": False, "svg.hashsalt": "punctual", "svg.fonttype": "path"}):
        draw().savefig(held, format="svg", metadata={"Date": None, "Creator": None})
    data = base64.b64encode(held.getvalue()).decode()
    return f'<figure><img alt="{escape(what)}" src="data:image/svg+xml;base64,{data}"></figure>'
