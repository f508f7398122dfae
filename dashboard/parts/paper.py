"""Charts and tables on paper: one page of HTML without scripts, to print and to keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from core import pages
from dashboard.parts.charts import COLOURS, Chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_TICKS = 12
_LONGEST = 24


def section(title: str, parts: Iterable[str]) -> str:
    """Return a heading and what stands under it."""
    return f"<h2>{escape(title)}</h2>{''.join(parts)}"


def words(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{escape(text)}</p>"


def chart(described: Chart) -> str:
    """Return a chart as a picture, with its title."""
    if described.empty:
        return f'<p class="muted">{escape(described.title)}: there is nothing to draw yet.</p>'
    return f"<h3>{escape(described.title)}</h3>{pages.image(lambda: drawn(described), described.title)}"


def drawn(described: Chart) -> Figure:
    """Return a chart as Matplotlib draws it."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    made = Figure(figsize=(8, 2.8), layout="constrained")
    axes = made.subplots()
    places = range(len(described.x))
    below, width = [0.0] * len(described.x), 0.8 / max(len(described.series), 1)
    for i, (name, values) in enumerate(described.series.items()):
        colour, label = COLOURS[i % len(COLOURS)], _short(name)
        if described.kind == "lines":
            # What is missing leaves a gap in the line.
            heights = [float("nan") if v is None else v for v in values]
            axes.plot(places, heights, marker="o", markersize=3, color=colour, label=label)
        elif described.kind == "stacked":
            heights = [v or 0.0 for v in values]
            axes.bar(places, heights, bottom=below, color=colour, label=label)
            below = [low + high for low, high in zip(below, heights, strict=True)]
        else:
            beside = [place + (i - (len(described.series) - 1) / 2) * width for place in places]
            axes.bar(beside, [v or 0.0 for v in values], width, color=colour, label=label)
    every = max(1, -(-len(described.x) // _MOST_TICKS))
    axes.set_xticks(list(places)[::every], [_tick(one) for one in described.x][::every], rotation=30, ha="right")
    axes.tick_params(labelsize=8)
    if described.kind != "lines" or described.share:
        axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    if described.share:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if len(described.series) > 1:
        axes.legend(fontsize=8, frameon=False)
    return made


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a table, the columns of the first."""
    columns = list(rows[0]) if rows else []
    return pages.table(columns, [[row.get(name) for name in columns] for row in rows])


def _tick(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}" if not (value.hour or value.minute) else f"{value:%m-%d %H:%M}"
    return _short(str(value))


def _short(text: str) -> str:
    # Matplotlib leaves names that begin with an underscore out of a legend.
    text = text.lstrip("_") or "?"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
