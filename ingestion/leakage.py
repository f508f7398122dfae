"""The leakage check: cut the raw data at a moment, and no feature of any earlier row may change.

A row stamped before the cut may only depend on what was known before the cut. So every query is run twice, on all raw
rows and on those with ``known_at`` before the cut, and everything stamped earlier is compared, value by value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.errors import NoData
from core.progress import progress
from core.repo import SPINE
from core.windows import list_windows
from ingestion.transform import feature_targets, known_when, select_rows
from stores.raw import register_raw
from stores.sql import connect, moment, quote

if TYPE_CHECKING:
    import duckdb

    from core.repo import FeatureRepo
    from ingestion.transform import Target

SHOWN = 5
_LABEL_TIME, _EVENT = "label_timestamp", "event_timestamp"


@dataclass(frozen=True)
class Leak:
    """One value that knows the future.

    Attributes
    ----------
    view : str
        The feature view, or ``spine``.
    cut : datetime
        Where the raw data was cut, UTC.
    row : dict
        Join keys and event time of the row.
    column : str
        The column that differs, ``(row)`` when the whole row comes or goes.
    known, later : object
        The value without and with what became known after the cut.
    """

    view: str
    cut: datetime
    row: dict[str, Any]
    column: str
    known: Any
    later: Any

    def __str__(self) -> str:
        where = ", ".join(f"{k}={v}" for k, v in self.row.items())
        return (
            f"{self.view}.{self.column} at {where}: {self.known!r} with what was known by {self.cut:%Y-%m-%d %H:%M}, "
            f"{self.later!r} with what came later"
        )


@dataclass
class LeakageReport:
    """What the check found.

    Attributes
    ----------
    rows : int
        Rows compared, over all views and cuts.
    leaks : list of Leak
        The first few of every view and cut that leaks.
    """

    rows: int = 0
    leaks: list[Leak] = field(default_factory=list)


def check_leakage(repo: FeatureRepo, cuts: Sequence[datetime]) -> LeakageReport:
    """Compare every feature view and the spine at every cut.

    Raises
    ------
    NoData
        When nothing is validated yet.
    """
    if not list_windows(repo.layout.valid):
        raise NoData("There are no checked rows to check leakage on.", hint="Run: punctual validate")
    targets = feature_targets(repo)
    report = LeakageReport()
    with progress("Checking leakage", total=(len(targets) + 1) * len(cuts)) as advance:
        for name, query in repo.queries.items():
            for cut in cuts:
                with connect() as con:
                    keys = _run_spine(con, repo, cut) if name == SPINE else _run_view(con, repo, targets[name], cut)
                    report.rows += _count(con)
                    report.leaks += [_leak(con, query.name, cut, keys, row) for row in _differences(con)]
                advance(note=name)
    return report


def spread_cuts(repo: FeatureRepo, count: int) -> list[datetime]:
    """Return moments spread evenly over the history there is, its ends left out."""
    windows = list_windows(repo.layout.valid)
    if not windows:
        raise NoData("There are no checked rows to check leakage on.", hint="Run: punctual validate")
    start, span = windows[0].since, windows[-1].until - windows[0].since
    # Odd minutes: a cut on the hour would miss what happens within it.
    return [start + span * (i + 1) / (count + 1) for i in range(count)]


def _run_view(con: duckdb.DuckDBPyConnection, repo: FeatureRepo, target: Target, cut: datetime) -> list[str]:
    for name, before in (("later", None), ("known", cut)):
        register_raw(con, repo, known_before=before)
        rows = select_rows(con, repo.queries[target.view], target)
        when = quote(known_when(con, rows, target))
        con.execute(f"CREATE TEMP TABLE {name} AS SELECT * FROM ({rows}) WHERE {when} < {moment(cut)}")
    return [*target.keys, target.timestamp]


def _run_spine(con: duckdb.DuckDBPyConnection, repo: FeatureRepo, cut: datetime) -> list[str]:
    """A spine row appears when its label is known, so those whose label came later are no difference."""
    for name, before in (("later", None), ("known", cut)):
        register_raw(con, repo, known_before=before)
        con.execute(
            f"CREATE TEMP TABLE {name} AS SELECT * FROM ({repo.spine.text}) WHERE {_LABEL_TIME} < {moment(cut)}"
        )
    columns = [str(row[0]) for row in con.execute("DESCRIBE later").fetchall()]
    return [c for c in columns if c not in (repo.problem.label.column, _LABEL_TIME)]


def _count(con: duckdb.DuckDBPyConnection) -> int:
    found = con.execute("SELECT count(*) FROM later").fetchone()
    return int(found[0]) if found else 0


def _differences(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Return the first rows that are in one of the two and not in the other."""
    rows = con.execute(f"(FROM later EXCEPT ALL FROM known) UNION ALL (FROM known EXCEPT ALL FROM later) LIMIT {SHOWN}")
    names = [column[0] for column in rows.description or []]
    return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]


def _leak(con: duckdb.DuckDBPyConnection, view: str, cut: datetime, keys: list[str], row: dict[str, Any]) -> Leak:
    same = " AND ".join(f"{quote(k)} IS NOT DISTINCT FROM $k{i}" for i, k in enumerate(keys))
    values = {f"k{i}": row[k] for i, k in enumerate(keys)}
    sides = {}
    for name in ("known", "later"):
        found = con.execute(f"SELECT * FROM {name} WHERE {same} LIMIT 1", values)
        names = [column[0] for column in found.description or []]
        first = found.fetchone()
        sides[name] = dict(zip(names, first, strict=True)) if first else None
    where = {k: row[k] for k in keys if k != _EVENT} | ({_EVENT: row[_EVENT]} if _EVENT in row else {})
    known, later = sides["known"], sides["later"]
    if known is None or later is None:
        return Leak(
            view, cut, where, "(row)", "absent" if known is None else "there", "absent" if later is None else "there"
        )
    column = next((c for c in known if known[c] != later[c]), "(row)")
    return Leak(view, cut, where, column, known.get(column), later.get(column))
