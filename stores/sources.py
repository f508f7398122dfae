"""Reads and writes what a Feast ``FileSource`` points to: a Parquet file, a glob, or a folder of files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast.infra.offline_stores.file_source import FileSource

from core.errors import ConfigError
from stores.sql import quote, text

if TYPE_CHECKING:
    import duckdb
    from feast.data_source import DataSource


def file_source(source: DataSource | None, view: str) -> FileSource:
    """Return ``source`` as a ``FileSource`` of Parquet.

    Raises
    ------
    ConfigError
        When it is of another kind, which this store cannot read.
    """
    if not isinstance(source, FileSource):
        raise ConfigError(
            f"{view}: this offline store reads Parquet files, not {type(source).__name__}.",
            hint="Give the view a FileSource.",
        )
    return source


def location(source: FileSource, repo_path: Path | str | None) -> str:
    """Return the absolute path (or URL) of a source; a relative one is relative to the feature repo."""
    return str(FileSource.get_uri_for_file_path(repo_path, source.file_options.uri))


def parquet_files(source: FileSource, repo_path: Path | str | None) -> list[str]:
    """Return the Parquet files of a source in name order: one, those of a folder, or those of a glob."""
    path = location(source, repo_path)
    if "://" in path:
        return [path if path.endswith(".parquet") or "*" in path else f"{path.rstrip('/')}/*.parquet"]
    if Path(path).is_dir():
        return sorted(str(p) for p in Path(path).rglob("*.parquet") if not p.name.startswith("."))
    if "*" in path:
        root = Path(path[: path.index("*")]).parent
        return sorted(str(p) for p in root.glob(str(Path(path).relative_to(root))))
    return [path] if Path(path).is_file() else []


def relation(
    con: duckdb.DuckDBPyConnection, source: FileSource, repo_path: Path | str | None
) -> tuple[str | None, dict[str, str]]:
    """Return SQL that reads a source, field mapping applied, and its columns with their DuckDB types.

    Returns
    -------
    sql : str or None
        A ``SELECT``; None when the source has no file yet.
    columns : dict of str to str
        Column name (after mapping) -> DuckDB type.
    """
    files = parquet_files(source, repo_path)
    if not files:
        return None, {}
    reader = f"read_parquet([{', '.join(map(text, files))}], union_by_name = true)"
    found: list[tuple[Any, ...]] = con.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()
    mapping = source.field_mapping or {}
    columns = {mapping.get(name, name): str(kind) for name, kind, *_ in found}
    if not mapping:
        return f"SELECT * FROM {reader}", columns
    picked = ", ".join(f"{quote(name)} AS {quote(mapping.get(name, name))}" for name, *_ in found)
    return f"SELECT {picked} FROM {reader}", columns


def as_utc(column: str, kind: str) -> str:
    """Return SQL for a time column as ``TIMESTAMPTZ`` in microseconds; a naive time is UTC already."""
    name = quote(column)
    if kind == "TIMESTAMP WITH TIME ZONE":
        return name
    if kind.startswith("TIMESTAMP"):
        return f"(CAST({name} AS TIMESTAMP) AT TIME ZONE 'UTC')"
    if kind == "DATE":
        return f"(CAST({name} AS TIMESTAMP) AT TIME ZONE 'UTC')"
    return f"CAST({name} AS TIMESTAMPTZ)"
