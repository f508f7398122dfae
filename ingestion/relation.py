"""A table of one layer, all windows of it, as DuckDB reads it: with conditions, and within bounds.

Whoever asks decides what is compared with what, so a look takes so much memory and so many seconds and no more; names
are looked up among the table's columns, and values are bound as parameters, never written into SQL.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from core.conditions import ALONE, Condition, read_condition
from core.errors import Conflict, InvalidRequest, NotFound, TooManyRequests
from core.windows import list_windows
from ingestion.transform import feature_targets
from stores.sql import connect, no_longer_than, quote, text

if TYPE_CHECKING:
    from pathlib import Path

    from core.client import Layer
    from core.repo import FeatureRepo

_MEMORY = "512MB"
_SECONDS = 8.0  # less than clients wait for
_AT_ONCE = threading.BoundedSemaphore(2)
_SHOWN = 80

FLOATS = ("FLOAT", "DOUBLE")
INTEGERS = tuple(f"{sign}{size}" for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT"))
_PLAIN = (*INTEGERS, *FLOATS, "HUGEINT", "UHUGEINT", "BOOLEAN", "VARCHAR", "DATE", "TIME", "UUID")


@dataclass(frozen=True)
class Relation:
    """A table that is open for a look.

    Attributes
    ----------
    con : DuckDBPyConnection
        What to ask; it stops when the time is over.
    table : str
        Its name.
    files : list of Path
        One a window, the newest first.
    types : dict of str to str
        Column to DuckDB type.
    where : str
        SQL of the conditions.
    given : list of str
        Their values.
    """

    con: duckdb.DuckDBPyConnection
    table: str
    files: list[Path]
    types: dict[str, str]
    where: str = "true"
    given: Sequence[str] = ()

    def query(self, what: str, rest: str = "", *, files: Sequence[Path] | None = None) -> str:
        """Return SQL that selects ``what`` from the rows that fulfil the conditions, to be run with :attr:`given`."""
        return f"SELECT {what} FROM {_rows_of(files or self.files)} WHERE {self.where} {rest}"

    def fetch(self, what: str, rest: str = "", *, files: Sequence[Path] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of :meth:`query`."""
        return self.con.execute(self.query(what, rest, files=files), list(self.given)).fetchall()

    def column(self, name: str) -> str:
        """Return SQL for a column's value; what is no number is missing, as it is to whoever reads JSON.

        Raises
        ------
        InvalidRequest
            When it is none of the table's.
        """
        if name not in self.types:
            raise InvalidRequest(
                f"{self.table} has no column {name[:_SHOWN]!r}.",
                hint=f"It has: {', '.join(self.types)}.",
                column=name[:_SHOWN],
            )
        quoted = quote(name)
        return f"CASE WHEN NOT isnan({quoted}) THEN {quoted} END" if self.types[name] in FLOATS else quoted


@contextmanager
def opened(repo: FeatureRepo, table: str, layer: Layer, where: Sequence[str] = ()) -> Iterator[Relation]:
    """Open a table for a look.

    Parameters
    ----------
    repo : FeatureRepo
        Whose data.
    table : str
        A table of ``source.py``, or a feature view for ``features``.
    layer : str
        ``raw``, ``valid``, ``quarantine`` or ``features``.
    where : sequence of str
        Conditions as :mod:`core.conditions` writes them; all must be fulfilled.

    Raises
    ------
    NotFound
        When there is no such table in that layer, or no row of it yet.
    InvalidRequest
        When a condition does not fit the table, or the look takes too long or too much memory.
    TooManyRequests
        When too many look at once.
    Conflict
        When its files are written anew at this moment, or cannot be read.
    """
    files = _files(repo, table, layer)
    if not files:
        raise NotFound(f"There are no {layer} rows of {table} yet.", hint="Run the step that makes them.")
    conditions = [read_condition(one) for one in where]
    if not _AT_ONCE.acquire(timeout=_SECONDS):
        raise TooManyRequests("Too many look into tables at once.", hint="Try again in 1 s.", retry_after=1)
    try:
        with connect(memory=_MEMORY) as con, no_longer_than(con, _SECONDS):
            # Statistics in Parquet leave NaN out, from which DuckDB would conclude that there is none.
            con.execute("SET disabled_optimizers = 'statistics_propagation'")
            relation = Relation(con, table, files, _types(con, files))
            found = " AND ".join(_sql(relation, one) for one in conditions) or "true"
            given = [one.value for one in conditions if one.operator not in ALONE]
            yield Relation(con, table, files, relation.types, found, given)
    # (With a 504 clients would ask for the same again, and again.)
    except duckdb.InterruptException as error:
        raise InvalidRequest(
            f"The look into {table} was not over after {_SECONDS:g} s.",
            hint="Ask for fewer columns, or for fewer rows by conditions.",
        ) from error
    except duckdb.OutOfMemoryException as error:
        raise InvalidRequest(
            f"The look into {table} takes more than {_MEMORY} of memory.",
            hint="Ask for fewer columns, or for fewer rows by conditions.",
        ) from error
    except duckdb.IOException as error:
        raise Conflict(
            f"The {layer} files of {table} cannot be read: they are written anew at this moment, or damaged.",
            hint="Try again; if it stays so, run the step that makes them.",
        ) from error
    finally:
        _AT_ONCE.release()


def _sql(relation: Relation, condition: Condition) -> str:
    """Return SQL for a condition, its value left open; what is missing fulfils ``is missing`` alone."""
    column, kind = relation.column(condition.column), relation.types[condition.column]
    match condition.operator:
        case "is missing" | "is not missing":
            return f"{column} IS {'NOT ' if condition.operator == 'is not missing' else ''}NULL"
        case "contains":
            return f"contains(lower(CAST({column} AS VARCHAR)), lower(?))"
        case operator:
            _check(relation, condition, kind)
            return f"{column} {operator} {_cast('?', kind)}"


def _check(relation: Relation, condition: Condition, kind: str) -> None:
    """Make sure that a value is one of the column's type."""
    if kind not in _PLAIN and not kind.startswith(("DECIMAL", "TIMESTAMP")):
        raise InvalidRequest(
            f"{condition.column} is {kind[:_SHOWN]}, which is not compared.",
            hint="Ask whether it contains a text, or is missing.",
        )
    value = _cast("$1", kind)
    fits = f"{value} IS NOT NULL"
    if kind in FLOATS:
        fits = f"NOT isnan({value})"
    elif kind in INTEGERS or kind.startswith(("DECIMAL", "HUGEINT", "UHUGEINT")):
        fits = f"{value} = TRY_CAST($1 AS DOUBLE)"  # a cast rounds: 1.5 would ask for 2
    elif kind == "DATE":
        fits = f"{value} = TRY_CAST($1 AS TIMESTAMP)"
    answer = relation.con.execute(f"SELECT {fits}", [condition.value]).fetchone()
    if not answer or not answer[0]:
        raise InvalidRequest(
            f"{condition.column} is {kind}, and {condition.value[:_SHOWN]!r} is none.",
            hint="Ask for what has no value with 'is missing'.",
            column=condition.column,
        )


def _cast(value: str, kind: str) -> str:
    # Of a moment without a zone DuckDB forgets the offset that was asked with; ours are UTC.
    given = f"TRY_CAST({value} AS TIMESTAMPTZ)" if kind.startswith("TIMESTAMP") else value
    return f"TRY_CAST({given} AS {kind})"


def _types(con: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> dict[str, str]:
    try:
        described = con.execute(f"DESCRIBE SELECT * FROM {_rows_of(files)}").fetchall()
    except (duckdb.InterruptException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:  # a file that is none is told of by many kinds
        raise duckdb.IOException(str(error)) from error
    return {str(name): str(kind) for name, kind, *_ in described}


def _rows_of(files: Sequence[Path]) -> str:
    return f"read_parquet([{', '.join(text(path) for path in files)}], union_by_name = true)"


def _files(repo: FeatureRepo, table: str, layer: Layer) -> list[Path]:
    """Return a table's files, newest window first; the name is looked up, never made into a path as it comes."""
    if layer == "features":
        targets = feature_targets(repo)
        if table not in targets:
            raise NotFound(f"There is no feature view {table[:_SHOWN]!r}.", hint=f"There are: {', '.join(targets)}.")
        return sorted(targets[table].folder.glob("*.parquet"), reverse=True)
    if table not in repo.schemas:
        raise NotFound(f"There is no table {table[:_SHOWN]!r}.", hint=f"There are: {', '.join(repo.schemas)}.")
    folder: Path = {"raw": repo.layout.raw, "valid": repo.layout.valid, "quarantine": repo.layout.quarantine}[layer]
    paths = [folder / window.id / f"{table}.parquet" for window in reversed(list_windows(folder))]
    return [path for path in paths if path.is_file()]
