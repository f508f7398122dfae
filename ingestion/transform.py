"""Turns checked raw rows into feature rows, one SQL file a feature view, window by window.

A window's rows need only the history that the query's ``lookback`` lines name, so a new window costs what it brings and
not what history weighs. What arrives late, or corrects an old row, changes features of the past: those are computed
again from the first changed moment on, and the rows that come out different are *added*, created at the end of
the window that brought them. What was known before stays as it was known.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from core.errors import ConfigError, DataError, NoData
from core.files import atomic_path, digest_of
from core.progress import progress
from core.repo import SPINE, Query
from core.windows import Window, list_windows
from stores.entities import DUMMY_KEY
from stores.raw import history_from, known_at, register_raw
from stores.registry import apply, feature_views, open_store
from stores.sources import as_utc, file_source, location
from stores.sql import connect, moment, quote, text
from stores.value_types import arrow_type

if TYPE_CHECKING:
    from feast import FeatureView, Field

    from core.repo import FeatureRepo

_VERSION = ".query"


@dataclass(frozen=True)
class Target:
    """Where a view's rows go and which columns they have.

    Attributes
    ----------
    keys, features : dict of str to str
        Column -> DuckDB type, as the feature view declares it.
    timestamp, created : str, str or None
        The time columns of the view's source.
    """

    view: str
    folder: Path
    keys: dict[str, str]
    features: dict[str, str]
    timestamp: str
    created: str | None


def transform(repo: FeatureRepo) -> dict[str, int]:
    """Compute the windows that have no feature rows yet, oldest first.

    Returns
    -------
    dict of str to int
        View -> rows written.

    Raises
    ------
    NoData
        When no window is validated.
    ConfigError, DataError
        Naming the view whose SQL is wrong. Files of other windows and views stay as they are.
    """
    windows = list_windows(repo.layout.valid)
    if not windows:
        raise NoData("There are no checked rows to compute features from.", hint="Run: punctual validate")
    targets = feature_targets(repo)
    written = dict.fromkeys(targets, 0)
    for view, target in targets.items():
        _start_over_if_changed(target, repo.queries[view])
    todo = [(w, t) for w in windows for t in targets.values() if not (t.folder / f"{w.id}.parquet").is_file()]
    with progress("Computing features", total=len(todo)) as advance:
        for window, target in todo:
            arrived = [w for w in windows if w <= window]
            written[target.view] += _transform_window(repo, repo.queries[target.view], target, window, arrived)
            advance(note=target.view)
    return written


def rebuild(repo: FeatureRepo) -> dict[str, int]:
    """Compute all of history again, window by window as it arrived: the same rows as before come out."""
    for target in feature_targets(repo).values():
        shutil.rmtree(target.folder, ignore_errors=True)
    return transform(repo)


def feature_targets(repo: FeatureRepo) -> dict[str, Target]:
    """Return the views that the repo's SQL fills, by name; definitions are applied first if they never were.

    Raises
    ------
    ConfigError
        When an SQL file belongs to no feature view.
    """
    if not (repo.layout.data / "registry.json").is_file():
        apply(repo)
    store = open_store(repo)
    views = {view.name: view for view in feature_views(store)}
    names = [name for name in repo.queries if name != SPINE]
    if strangers := [name for name in names if name not in views]:
        raise ConfigError(
            f"sql/{strangers[0]}.sql belongs to no feature view; the registry has {', '.join(views) or 'none'}.",
            hint="Name the file like the view, or define the view and run: punctual apply",
        )
    return {name: _target(repo, views[name]) for name in names}


def select_rows(con: duckdb.DuckDBPyConnection, query: Query, target: Target) -> str:
    """Return SQL for a view's rows, declared columns and types only, times as ``TIMESTAMPTZ``.

    Raises
    ------
    ConfigError
        When the query does not run, or lacks a column.
    """
    try:
        found = {str(name): str(kind) for name, kind, *_ in con.execute(f"DESCRIBE {query.text}").fetchall()}
    except duckdb.Error as error:
        raise ConfigError(f"sql/{query.name}.sql: {error}", hint="Mend the query.") from error
    declared = {**target.keys, **target.features}
    missing = [c for c in (*declared, target.timestamp) if c not in found]
    if missing:
        raise ConfigError(
            f"sql/{query.name}.sql gives no column {', '.join(missing)}.",
            hint=f"The view {target.view} needs {', '.join((*declared, target.timestamp))}.",
        )
    columns = [f"CAST({quote(c)} AS {kind}) AS {quote(c)}" for c, kind in declared.items()]
    columns.append(f"{as_utc(target.timestamp, found[target.timestamp])} AS {quote(target.timestamp)}")
    if target.created and target.created in found:
        columns.append(f"{as_utc(target.created, found[target.created])} AS {quote(target.created)}")
    return f"SELECT {', '.join(columns)} FROM ({query.text})"


def known_when(con: duckdb.DuckDBPyConnection, rows: str, target: Target) -> str:
    """Return the column that says when a row became known: what the query created, else its event time.

    A query that gives ``created_timestamp`` itself may tell of events from before they became known.
    """
    given = [str(column[0]) for column in con.execute(f"DESCRIBE {rows}").fetchall()]
    return target.created if target.created and target.created in given else target.timestamp


def _transform_window(repo: FeatureRepo, query: Query, target: Target, window: Window, arrived: list[Window]) -> int:
    path = target.folder / f"{window.id}.parquet"
    with connect() as con:
        start = _first_change(con, repo, query, window)
        register_raw(con, repo, query=query, windows=arrived, history_from=history_from(con, query, start))
        rows = select_rows(con, query, target)
        when = quote(known_when(con, rows, target))
        given = when != quote(target.timestamp)
        rows = f"SELECT * FROM ({rows}) WHERE {when} >= {moment(start)} AND {when} < {moment(window.until)}"
        if target.created and not given:
            late = f"CASE WHEN {when} < {moment(window.since)} THEN {moment(window.until)} ELSE {when} END"
            rows = f"SELECT *, {late} AS {quote(target.created)} FROM ({rows})"
        if start < window.since:
            rows = _only_changed(con, target, rows, window, arrived, given)
        order = ", ".join(map(quote, (*target.keys, target.timestamp, *target.features)))
        with atomic_path(path) as temporary:
            try:
                con.execute(
                    f"COPY (SELECT * FROM ({rows}) ORDER BY {order}) TO {text(temporary)} "
                    "(FORMAT parquet, COMPRESSION zstd)"
                )
            except duckdb.Error as error:
                raise DataError(f"sql/{query.name}.sql: {error}", hint="Mend the query.") from error
        counted = con.execute(f"SELECT count(*) FROM read_parquet({text(path)})").fetchone()
    return int(counted[0]) if counted else 0


def _first_change(con: duckdb.DuckDBPyConnection, repo: FeatureRepo, query: Query, window: Window) -> datetime:
    """Return the first moment whose features this window can change: its start, or its oldest late row."""
    first = window.since
    for table, schema in repo.schemas.items():
        path = repo.layout.valid / window.id / f"{table}.parquet"
        if not query.mentions(table) or not path.is_file():
            continue
        column = quote(known_at(schema))
        oldest = con.execute(f"SELECT min({column}) FROM read_parquet({text(path)})").fetchone()
        if oldest and oldest[0] is not None:
            first = min(first, oldest[0])
    return first


def _only_changed(
    con: duckdb.DuckDBPyConnection, target: Target, rows: str, window: Window, arrived: list[Window], given: bool
) -> str:
    """Return SQL for the window's own rows, and of the older ones those that differ from what stands."""
    files = [target.folder / f"{w.id}.parquet" for w in arrived if w < window]
    if not files:
        return rows
    # What makes a row: its key and moment, and where the query gives it, when it was created.
    identity = (*target.keys, target.timestamp, *([target.created] if given and target.created else []))
    when = quote(identity[-1])
    compared = ", ".join(map(quote, (*identity, *target.features)))
    partition = ", ".join(map(quote, identity))
    newest = f"ORDER BY {quote(target.created)} DESC, filename DESC" if target.created else "ORDER BY filename DESC"
    stands = (
        f"SELECT * FROM read_parquet([{', '.join(map(text, files))}], filename = true) "
        f"QUALIFY row_number() OVER (PARTITION BY {partition} {newest}) = 1"
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE __rows AS {rows}")
    return (
        f"SELECT * FROM __rows WHERE {when} >= {moment(window.since)} UNION ALL "
        f"SELECT r.* FROM __rows AS r SEMI JOIN (SELECT {compared} FROM __rows WHERE {when} < {moment(window.since)} "
        f"EXCEPT SELECT {compared} FROM ({stands})) AS c ON "
        + " AND ".join(f"r.{quote(c)} IS NOT DISTINCT FROM c.{quote(c)}" for c in identity)
        + f" WHERE r.{when} < {moment(window.since)}"
    )


def _target(repo: FeatureRepo, view: FeatureView) -> Target:
    source = file_source(view.batch_source, view.name)
    folder = Path(location(source, repo.layout.repo))
    if folder.is_file():
        raise ConfigError(
            f"{view.name}: {folder} is a file, and feature rows are written as files into a folder.",
            hint="Give the view's FileSource the path of a folder.",
        )
    types = {c.name: _duckdb_type(c) for c in (*view.entity_columns, *view.features)}
    keys = {c.name: types[c.name] for c in view.entity_columns if c.name != DUMMY_KEY}
    features = {c.name: types[c.name] for c in view.features}
    return Target(view.name, folder, keys, features, source.timestamp_field, source.created_timestamp_column or None)


def _duckdb_type(column: Field) -> str:
    kind = arrow_type(column.dtype.to_value_type())
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    return str(duckdb.from_arrow(pa.table({"c": pa.nulls(0, kind)})).types[0])


def _start_over_if_changed(target: Target, query: Query) -> None:
    """Rows of two definitions must not stand in one view: a changed query computes its history again."""
    version = digest_of(query.text, repr(target.keys), repr(target.features))
    mark = target.folder / _VERSION
    if mark.is_file() and mark.read_text(encoding="utf-8") == version:
        return
    for path in target.folder.glob("*.parquet"):
        path.unlink()
    with atomic_path(mark) as temporary:
        temporary.write_text(version, encoding="utf-8")
