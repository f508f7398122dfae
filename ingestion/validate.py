"""Checks raw rows against the source's own schemas; rows that fail go to quarantine with the reason, none is lost."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pyarrow as pa

from core.errors import DataError, NoData
from core.files import atomic_dir, atomic_path, write_json
from core.progress import progress
from core.windows import Window, list_windows
from ingestion.fetch import write_table
from stores.raw import key_of, known_at
from stores.sql import connect, quote, text

if TYPE_CHECKING:
    from core.repo import FeatureRepo

# A window of which more than this is bad is a broken feed, not a few bad rows: a person should look.
MAX_BAD_SHARE = 0.5


@dataclass
class TableReport:
    """What one table's check found."""

    rows: int
    quarantined: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)


@dataclass
class WindowReport:
    """What one window's check found, a :class:`TableReport` a table."""

    window: str
    tables: dict[str, TableReport] = field(default_factory=dict)

    def summary(self) -> str:
        """Return one line a table."""
        lines = [f"{Window.parse(self.window)}"]
        for name, table in self.tables.items():
            line = f"  {name}: {table.rows - table.quarantined:,} of {table.rows:,} rows pass"
            found = [f"{count} x {reason}" for reason, count in table.reasons.items()]
            lines.append(line + (f" ({'; '.join(found)})" if found else ""))
        return "\n".join(lines)

    def markdown(self) -> str:
        """Return the report for a person to read."""
        lines = [f"# Validation of {Window.parse(self.window)}", "", "| table | rows | pass | quarantine |"]
        lines.append("|---|---:|---:|---:|")
        for name, t in self.tables.items():
            lines.append(f"| {name} | {t.rows:,} | {t.rows - t.quarantined:,} | {t.quarantined:,} |")
        for title, kind in (("Why rows are in quarantine", "reasons"), ("Noted, not held back", "warnings")):
            found = [(n, r, c) for n, t in self.tables.items() for r, c in getattr(t, kind).items()]
            if found:
                lines += ["", f"## {title}", "", *(f"- {n}: {c:,} x {r}" for n, r, c in found)]
        return "\n".join(lines) + "\n"


def validate_all(repo: FeatureRepo) -> list[WindowReport]:
    """Check every fetched window that is not checked yet, oldest first.

    Raises
    ------
    NoData
        When nothing was fetched yet.
    DataError
        When a table lacks a column, has one of another type, or is mostly bad. That window is not written.
    """
    fetched = list_windows(repo.layout.raw)
    if not fetched:
        raise NoData("There is no raw data to check.", hint="Run: punctual fetch")
    done = set(list_windows(repo.layout.valid))
    todo = [w for w in fetched if w not in done]
    with progress("Validating", total=len(todo) * len(repo.schemas)) as advance:
        return [_validate_window(repo, window, advance) for window in todo]


def _validate_window(repo: FeatureRepo, window: Window, advance: Any) -> WindowReport:
    report = WindowReport(window.id)
    good: dict[str, pd.DataFrame] = {}
    bad: dict[str, pd.DataFrame] = {}
    for name in _referenced_first(repo.schemas):
        table = pd.read_parquet(repo.layout.raw / window.id / f"{name}.parquet")
        reasons = _bad_rows(name, table, repo.schemas[name])
        column = known_at(repo.schemas[name])
        for index in table.index[table[column] >= window.until]:
            reasons.setdefault(int(index), []).append(f"{column} lies after the window: {table[column][index]}")
        warnings = _references(repo, window, name, table, good, reasons)
        found = pd.Series({i: "; ".join(words) for i, words in sorted(reasons.items())}, dtype=object)
        if len(found) > MAX_BAD_SHARE * len(table):
            raise DataError(
                f"{name}: {len(found):,} of {len(table):,} rows of {window} are bad, for example: {found.iloc[0]}.",
                hint="The feed looks broken: nothing was taken in. Mend source.py or its schema.",
            )
        good[name] = table.drop(index=found.index)
        bad[name] = table.loc[found.index].assign(reason=found)
        counts = pd.Series([w for words in reasons.values() for w in words], dtype=object).value_counts()
        tally = {str(reason): int(count) for reason, count in counts.sort_index().items()}
        report.tables[name] = TableReport(len(table), len(found), tally, warnings)
        advance(note=name)
    _write(repo, window, good, bad, report)
    return report


def _write(
    repo: FeatureRepo,
    window: Window,
    good: dict[str, pd.DataFrame],
    bad: dict[str, pd.DataFrame],
    report: WindowReport,
) -> None:
    """Write quarantine and report first: once the valid rows show, the window is done."""
    with atomic_dir(repo.layout.quarantine / window.id) as folder:
        for name, rows in bad.items():
            write_table(rows, folder / f"{name}.parquet")
    reports = repo.layout.reports / "validation"
    write_json(reports / f"{window.id}.json", asdict(report))
    with atomic_path(reports / f"{window.id}.md") as path:
        path.write_text(report.markdown(), encoding="utf-8")
    with atomic_dir(repo.layout.valid / window.id) as folder:
        for name, rows in good.items():
            write_table(rows, folder / f"{name}.parquet")


def _bad_rows(name: str, table: pd.DataFrame, schema: Any) -> dict[int, list[str]]:
    """Return row index -> reasons, by the schema's checks and the uniqueness of its key."""
    from pandera.errors import SchemaErrors

    reasons: dict[int, list[str]] = {}
    rows_alone = copy.deepcopy(schema)
    rows_alone.unique = None  # a key's second row is bad, its first is not: told apart below
    try:
        rows_alone.validate(table, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
        whole = cases[cases["index"].isna()]
        if len(whole):
            first = whole.iloc[0]
            raise DataError(
                f"{name}: column {first['column'] or first['failure_case']} is not as its schema says: "
                f"{first['check']} (found {first['failure_case']}).",
                hint="Nothing was taken in. Mend source.py or its schema.",
            ) from errors
        for column, check, value, index in cases[["column", "check", "failure_case", "index"]].itertuples(index=False):
            reasons.setdefault(int(index), []).append(f"{column} {_words(check)}: {_value(value)}")
    key = key_of(schema)
    if key:
        for index in table.index[table.duplicated(key, keep="last")]:
            reasons.setdefault(int(index), []).append(f"{', '.join(key)} twice in one window")
    return reasons


def _words(check: str) -> str:
    return "must not be missing" if check == "not_nullable" else f"fails {check}"


def _value(value: object) -> str:
    text = "missing" if value is None or value is pd.NA or value != value else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _references(
    repo: FeatureRepo,
    window: Window,
    name: str,
    table: pd.DataFrame,
    good: dict[str, pd.DataFrame],
    reasons: dict[int, list[str]],
) -> dict[str, int]:
    """Add rows that refer to nothing to ``reasons``; return the counts of those that are only noted."""
    metadata = repo.schemas[name].metadata or {}
    warnings: dict[str, int] = {}
    for column, target in metadata.get("references", {}).items():
        other, other_column = target.split(".")
        asked = table[column].dropna()
        known = _known(repo, window, f"{name}.{column}", target, asked, good[other][other_column])
        lost = asked.index[~asked.isin(known)]
        if column in metadata.get("warn_only", []):
            if len(lost):
                warnings[f"{column} not in {target}"] = len(lost)
            continue
        for index in lost:
            reasons.setdefault(int(index), []).append(f"{column} not in {target}: {_value(table[column][index])}")
    return warnings


def _known(repo: FeatureRepo, window: Window, column: str, target: str, asked: pd.Series, here: pd.Series) -> pd.Series:
    """Return those of the values asked for that a reference may have: what earlier windows hold, and this one."""
    table, name = target.split(".")
    earlier = [repo.layout.valid / w.id / f"{table}.parquet" for w in list_windows(repo.layout.valid) if w < window]
    if not earlier or asked.empty:
        return here
    with connect() as con:
        con.register("asked", pa.table({"value": pa.array(asked.drop_duplicates())}))
        try:
            found = con.execute(
                f"SELECT DISTINCT {quote(name)} AS value FROM read_parquet([{', '.join(map(text, earlier))}], "
                f"union_by_name = true) WHERE {quote(name)} IN (SELECT value FROM asked)"
            ).df()
        except duckdb.Error as error:
            raise DataError(
                f"{column} cannot be looked up in {target}: {str(error).splitlines()[0]}",
                hint="Give both columns one type in the schemas of source.py.",
            ) from error
    return pd.concat([found["value"], here])


def _referenced_first(schemas: dict[str, Any]) -> Sequence[str]:
    """Return the tables so that each comes after those it refers to."""
    ordered: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in ordered:
            return
        if name in path:
            raise DataError(
                f"The tables {', '.join(path)} refer to each other in a circle.",
                hint="Take one of the references out of the schemas in source.py.",
            )
        for other in _targets(schemas, name):
            if other != name:
                visit(other, (*path, name))
        ordered.append(name)

    for name in schemas:
        visit(name, ())
    return ordered


def _targets(schemas: dict[str, Any], name: str) -> Iterator[str]:
    for column, target in (schemas[name].metadata or {}).get("references", {}).items():
        other, _, other_column = target.partition(".")
        if other not in schemas or other_column not in schemas[other].columns:
            raise DataError(
                f"{name}.{column} refers to {target!r}, which is no column of a table.",
                hint="Write <table>.<column> in the references of source.py.",
            )
        yield other
