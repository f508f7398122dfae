"""The page of a drift report: our verdict in words, and Evidently's drift table, in one file that needs no network."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from core.problem import Drift
    from monitoring.drift import DriftReport
    from monitoring.drift_columns import ColumnDrift

MOST_ROWS = 5_000  # histograms of more look the same
# Evidently keeps its tests in one list of the process, by name.
_ONE_AT_A_TIME = threading.Lock()
_STYLE = (
    "font-family:system-ui,sans-serif;max-width:72rem;margin:1.5rem auto;padding:0 1rem;line-height:1.5;color:#1f2933"
)


def write_page(path: Path, report: DriftReport, reference: pa.Table, current: pa.Table, limits: Drift) -> None:
    """Write the page of a report to a file.

    Parameters
    ----------
    report : DriftReport
        What was found: the table says the same of each column.
    reference, current : pyarrow.Table
        Rows of both sides, with the report's columns.
    limits : Drift
        Of problem.yaml.
    """
    columns = [*report.features, *([report.prediction] if report.prediction else [])]
    shown = [c for c in columns if _has_values(reference, c.name) and _has_values(current, c.name)]
    if shown:
        html = _evidently(shown, reference, current.slice(0, MOST_ROWS), limits)
        html = html.replace("<body>", f"<body>{_words(report)}", 1)
    else:
        html = f'<!DOCTYPE html><html lang="en"><head><meta charset="UTF-8"></head><body>{_words(report)}</body></html>'
    path.write_text(html, encoding="utf-8")


def _words(report: DriftReport) -> str:
    title = f"{report.verdict.capitalize()}: model version {report.model_version}, {report.since:%Y-%m-%d %H:%M} to "
    drifted = [f.words for f in report.features if f.drifted]
    sections = {
        "Why": report.reasons,
        "Features that drifted": drifted,
        "Predictions": [report.prediction.words] if report.prediction else [],
        "Performance": [report.performance["words"] if report.performance else "Too few labels are known so far."],
        "What this rests on": [f"{report.rows:,} predictions in the window.", *report.notes],
    }
    parts = [
        f"<h2>{escape(heading)}</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
        for heading, lines in sections.items()
        if lines
    ]
    head = f"<h1>{escape(title)}{report.until:%Y-%m-%d %H:%M} UTC</h1>"
    return f'<section style="{_STYLE}">{head}{"".join(parts)}</section>'


def _evidently(columns: Sequence[ColumnDrift], reference: pa.Table, current: pa.Table, limits: Drift) -> str:
    """Return Evidently's page of these columns, with our tests in place of its own."""
    from evidently import DataDefinition, Dataset, Report

    kinds = {kind: [c.name for c in columns if c.kind == kind] for kind in ("numeric", "categorical")}
    definition = DataDefinition(numerical_columns=kinds["numeric"], categorical_columns=kinds["categorical"])
    names = [c.name for c in columns]
    sides = [
        Dataset.from_pandas(table.select(names).to_pandas(), data_definition=definition)
        for table in (current, reference)
    ]
    with _ONE_AT_A_TIME:
        tests = {c.name: _as_stattest(c) for c in columns}
        preset = _table()(columns=names, drift_share=limits.share, per_column_method=tests)
        return str(Report([preset]).run(*sides).get_html_str(as_iframe=False))


@cache
def _table() -> Any:
    """Return Evidently's drift preset cut down to its table of columns.

    A widget a column besides would show the same twice, and take as long again; its verdict on the whole knows the
    share of drifted columns alone, and would contradict ours.
    """
    from evidently.presets import DataDriftPreset

    class DriftTable(DataDriftPreset):
        def generate_metrics(self, context: Any) -> Any:
            return super().generate_metrics(context)[:1]

        def render(self, context: Any, child_widgets: Any = None) -> Any:
            return [widget for widget in super().render(context, child_widgets) if widget.type == "big_table"]

    return DriftTable


def _as_stattest(column: ColumnDrift) -> str:
    """Make what was found of a column known to Evidently as a test of its own, and return the test's name."""
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    name = f"punctual:{column.name}"
    test = StatTest(name, column.test, [ColumnType.Numerical, ColumnType.Categorical], column.threshold)
    register_stattest(test, lambda *_: (column.effect or 0.0, column.drifted))
    return name


def _has_values(table: pa.Table, name: str) -> bool:
    column = table.column(name)
    return column.null_count < len(column)
