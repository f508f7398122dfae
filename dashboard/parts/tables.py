"""Tables with a filter and a way out of the dashboard."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

# A cell that begins like this is run as a formula by spreadsheets.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def matching(rows: Sequence[Mapping[str, Any]], text: str) -> list[Mapping[str, Any]]:
    """Return the rows in which every word of a text occurs in some cell, whatever its case."""
    wanted = text.casefold().split()
    if not wanted:
        return list(rows)
    return [row for row in rows if all(word in " ".join(map(str, row.values())).casefold() for word in wanted)]


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """Return rows as CSV, UTF-8; what a spreadsheet would run as a formula is made plain text."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_plain(row.get(name)) for name in columns])
    return out.getvalue().encode()


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, name: str, key: str, **options: Any) -> Any:
    """Show rows with a way to filter and to export them.

    Parameters
    ----------
    rows : sequence of mapping
        What to show.
    columns : sequence of str
        What of it, in order.
    name : str
        Of the exported file.
    key : str
        The widgets' own.
    **options
        For ``st.dataframe``.

    Returns
    -------
    (list, object)
        The rows that are shown, and what was selected of them.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Filter", key=f"{key}-filter", placeholder="any words", icon=":material/search:", width=320
        )
        shown = matching(rows, text)
        csv_button(shown, columns, name=name, key=key, disabled=not shown)
        st.caption(f"{len(shown):,} of {len(rows):,} rows")
    columned = {column: [row.get(column) for row in shown] for column in columns}
    return shown, st.dataframe(columned, hide_index=True, key=f"{key}-table", **options)


def csv_button(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, name: str, key: str, **options: Any
) -> None:
    """Offer rows as a CSV file, which is made when it is asked for; ``options`` are for ``st.download_button``."""
    st.download_button(
        "CSV",
        lambda: as_csv(rows, columns),
        file_name=f"{name}.csv",
        mime="text/csv",
        key=f"{key}-csv",
        icon=":material/download:",
        on_click="ignore",
        **options,
    )


def _plain(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
