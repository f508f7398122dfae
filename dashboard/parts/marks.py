"""Small drawings: where a value lies among others, and where a probability lies beside its threshold.

Plain HTML: dozens of them on a page cost nothing, they follow the page's colours, and are heard as words.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from dashboard.parts import words

_BINS = 24
_WHOLE = (1e3, 1e15)  # between these, what comes after the point is left out, and no digit before it

STYLE = """<style>
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: .75rem; }
.fact { border: 1px solid color-mix(in srgb, currentColor 18%, transparent); border-radius: .5rem;
  padding: .6rem .75rem; }
.fact .name { font-size: .85rem; opacity: .8; overflow-wrap: anywhere; }
.fact .value { font-size: 1.25rem; font-weight: 600; overflow-wrap: anywhere; }
.fact .where { font-size: .8rem; opacity: .8; }
.among { position: relative; display: flex; align-items: flex-end; gap: 1px; height: 42px; margin: .35rem 0; }
.among i { flex: 1; background: currentColor; opacity: .28; }
.among b { position: absolute; top: -4px; bottom: 0; width: 3px; margin-left: -1px; background: #d1711c; }
.shares { display: grid; grid-template-columns: auto 1fr auto; gap: .2rem .5rem; align-items: center; margin: .35rem 0;
  font-size: .8rem; }
.shares i { height: 10px; background: currentColor; opacity: .28; }
.shares i.own { background: #d1711c; opacity: 1; }
.odds { position: relative; height: 10px; border-radius: 5px; overflow: visible; margin: .25rem 0;
  background: color-mix(in srgb, currentColor 15%, transparent); }
.odds i { position: absolute; inset: 0 auto 0 0; border-radius: 5px; background: #1f6fb2; }
.odds b { position: absolute; top: -4px; bottom: -4px; width: 2px; background: currentColor; }
</style>"""


def fact(name: str, given: Any, others: Sequence[Any]) -> str:
    """Return a card: a feature's name, its value, and where that lies among others.

    Parameters
    ----------
    name : str
        The feature.
    given : object
        Its value, None where it is missing.
    others : sequence
        Other rows' values of it, None where they are missing; none where they are not known.
    """
    there = [one for one in others if one is not None]
    drawing, where = "", ""
    if there and given is not None and _two(given, there):
        where = _as_many(given, there)
        drawing = _shares(given, there, f"{name} is {short(given)}, {where}")
    elif there and isinstance(given, int | float) and not isinstance(given, bool) and _numeric(there):
        values = np.asarray(there, dtype=float)
        rank = float((values < given).mean() + (values == given).mean() / 2)
        where = f"higher than {rank:.0%} of {len(values):,} rows" if values.min() < values.max() else "as every row"
        drawing = _histogram(values, float(given), f"{name} is {short(given)}, {where}")
    elif there and given is not None:
        where = _as_many(given, there)
    elif given is None:
        where = "missing"
        if others:
            where += f", as in {1 - len(there) / len(others):.0%} of {len(others):,} rows"
    return (
        f'<div class="fact"><div class="name">{escape(name)}</div><div class="value">{escape(short(given))}</div>'
        f'{drawing}<div class="where">{escape(where)}</div></div>'
    )


def short(given: Any) -> str:
    """Return a value as a drawing has room for it: a number to four digits, or whole; a dash for what is missing."""
    if not isinstance(given, float):
        return words.value(given)
    return f"{given:,.0f}" if _WHOLE[0] <= abs(given) < _WHOLE[1] else f"{given:,.4g}"


def facts(cards: Sequence[str]) -> str:
    """Return cards side by side, as many as there is room for."""
    return f'{STYLE}<div class="facts">{"".join(cards)}</div>'


def odds(probability: float, threshold: float | None, said: str) -> str:
    """Return a bar from 0 to 1, filled to a probability, with a line at the threshold."""
    line = f'<b style="left: {threshold:.1%}"></b>' if threshold is not None else ""
    return (
        f'{STYLE}<div class="odds" role="img" aria-label="{escape(said)}">'
        f'<i style="width: {probability:.1%}"></i>{line}</div>'
    )


def _two(given: Any, there: Sequence[Any]) -> bool:
    """Say whether a feature has no values but yes and no, or 1 and 0: these have shares, and no shape."""
    return all(isinstance(one, int | float) and one in (0, 1) for one in (given, *there))


def _as_many(given: Any, there: Sequence[Any]) -> str:
    same = sum(one == given for one in there)
    if same == len(there):
        return "as every row"
    return f"as {f'{same / len(there):.0%}' if same else 'none'} of {len(there):,} rows"


def _shares(given: Any, there: Sequence[Any], said: str) -> str:
    rows = []
    for value in (type(given)(0), type(given)(1)):
        share = sum(one == value for one in there) / len(there)
        own = ' class="own"' if value == given else ""
        rows.append(f'<span>{short(value)}</span><i{own} style="width: {share:.1%}"></i><span>{share:.0%}</span>')
    return f'<div class="shares" role="img" aria-label="{escape(said)}">{"".join(rows)}</div>'


def _histogram(values: np.ndarray, given: float, said: str) -> str:
    low, high = min(float(values.min()), given), max(float(values.max()), given)
    counts, _ = np.histogram(values, bins=_BINS, range=(low, high if high > low else low + 1))
    # What is there at all must be seen, however little it is.
    tall = [max(100 * count / counts.max(), 3) if count else 0 for count in counts]
    at = (given - low) / (high - low) if high > low else 0.0
    bars = "".join(f'<i style="height: {height:.0f}%"></i>' for height in tall)
    return f'<div class="among" role="img" aria-label="{escape(said)}">{bars}<b style="left: {at:.1%}"></b></div>'


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
