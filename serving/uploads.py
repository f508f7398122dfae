"""Files of entity ids for predictions by the file: read, checked and kept before a job begins."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from core.errors import BatchTooLarge, InvalidRequest
from core.files import atomic_path
from stores.value_types import ValueType

if TYPE_CHECKING:
    from pathlib import Path

    from core.layout import Layout
    from serving.resolve import Needs

CSV = ("text/csv", "application/csv")
PARQUET = ("application/vnd.apache.parquet", "application/x-parquet", "application/parquet")
_MOST_ROWS = 5_000_000
_MOST_UNPACKED = 20  # times the size of the file: more is no table of ids, but something that swells on purpose
_MOST_TEXT = 256_000_000  # bytes of a column of texts
_ARROW: dict[ValueType, pa.DataType] = {
    ValueType.STRING: pa.string(),
    ValueType.INT64: pa.int64(),
    ValueType.INT32: pa.int32(),
    ValueType.DOUBLE: pa.float64(),
    ValueType.FLOAT: pa.float64(),
    ValueType.BOOL: pa.bool_(),
    ValueType.UNIX_TIMESTAMP: pa.timestamp("us", tz="UTC"),
}


def folder(layout: Layout) -> Path:
    """Return where files for predictions and their results are kept."""
    return layout.jobs / "prediction"


def path_of(layout: Layout, upload: str) -> Path:
    """Return where an upload is kept."""
    return folder(layout) / "uploads" / f"{upload}.parquet"


def keep(layout: Layout, table: pa.Table, body: bytes) -> str:
    """Keep a checked table under the content hash of the file it came from, and return that."""
    upload = hashlib.sha256(body).hexdigest()[:32]
    path = path_of(layout, upload)
    try:
        os.utime(path)  # it is wanted again, and kept as long as a new one
    except FileNotFoundError:
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
    return upload


def sweep(layout: Layout, before: datetime) -> int:
    """Remove uploads and results that nobody has touched since ``before`` (UTC); return how many."""
    gone = 0
    for path in (*folder(layout).glob("uploads/*.parquet"), *folder(layout).glob("results/*")):
        if path.stat().st_mtime < before.timestamp():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            gone += 1
    return gone


def read(body: bytes, content_type: str, needs: Needs) -> pa.Table:
    """Read a file of entities: the columns that a request's entities may have, of their types.

    Parameters
    ----------
    body : bytes
        The file.
    content_type : str
        Of CSV (UTF-8, comma, a header) or Parquet.
    needs : Needs
        Columns and their types.

    Raises
    ------
    InvalidRequest
        Naming what is wrong with the file, and the column.
    BatchTooLarge
        When it holds too many rows, or unpacks to too many bytes.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in CSV:
        table = _csv(body, needs)
    elif kind in PARQUET:
        table = _parquet(body, needs)
    else:
        raise InvalidRequest(
            f"The content type {content_type[:60]!r} is neither CSV nor Parquet.",
            hint=f"Send text/csv or {PARQUET[0]}.",
        )
    _check_columns(table.schema, needs)
    if table.num_rows == 0:
        raise InvalidRequest("The file has no rows.")
    if table.num_rows > _MOST_ROWS:
        raise BatchTooLarge(f"The file has {table.num_rows} rows, {_MOST_ROWS} are allowed.", hint="Split it.")
    return _cast(table, needs)


def _csv(body: bytes, needs: Needs) -> pa.Table:
    types = {name: _ARROW[kind] for name, kind in needs.types.items() if kind in _ARROW}
    try:
        return pa_csv.read_csv(
            io.BytesIO(body),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=types, strings_can_be_null=True),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise InvalidRequest(f"The file cannot be read as CSV: {error}.", hint="Send UTF-8 with a header.") from error


def _parquet(body: bytes, needs: Needs) -> pa.Table:
    try:
        file = pq.ParquetFile(io.BytesIO(body))
        _check_columns(file.schema_arrow, needs)
        unpacked = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if file.metadata.num_rows > _MOST_ROWS or unpacked > _MOST_UNPACKED * max(len(body), 1 << 20):
            raise BatchTooLarge(
                f"The file unpacks to {file.metadata.num_rows} rows and {unpacked} bytes.", hint="Split it."
            )
        for field in file.schema_arrow:
            if pa.types.is_fixed_size_binary(field.type):
                _check_size(field.name, field.type.byte_width * file.metadata.num_rows)
        # One long text that many rows repeat is small in the file, and in memory as long as it is kept once. (Asked of
        # every column, since bytes may be a text too; what is no text is read as it is.)
        names = file.schema_arrow.names
        table = pq.ParquetFile(io.BytesIO(body), metadata=file.metadata, read_dictionary=names).read()
        return pa.table({name: _spelled_out(name, table[name]) for name in names})
    except (pa.ArrowException, OSError) as error:
        raise InvalidRequest(f"The file cannot be read as Parquet: {error}.") from error


def _spelled_out(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column whose repeated values were kept once with a value for each row.

    Raises
    ------
    BatchTooLarge
        When that would take more memory than any ids do.
    """
    if not pa.types.is_dictionary(column.type):
        return column
    kind = column.type.value_type
    if not pa.types.is_primitive(kind):
        lengths = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
        _check_size(name, sum(pc.sum(one).as_py() or 0 for one in lengths))
    return column.cast(kind)


def _check_size(name: str, size: int) -> None:
    if size > _MOST_TEXT:
        raise BatchTooLarge(f"The column {name!r} unpacks to {size} bytes of text.", hint="Split the file.")


def _check_columns(schema: pa.Schema, needs: Needs) -> None:
    try:
        names = schema.names
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The file's column names are not UTF-8: {error}.") from error
    allowed = ", ".join(needs.types)
    if twice := [name for name in names if names.count(name) > 1]:
        raise InvalidRequest(f"The file has the column {twice[0][:60]!r} twice.")
    if unknown := [name for name in names if name not in needs.types]:
        raise InvalidRequest(f"The file has an unknown column {unknown[0][:60]!r}.", hint=f"Allowed: {allowed}.")
    if nested := [field for field in schema if pa.types.is_nested(field.type)]:
        raise InvalidRequest(f"The column {nested[0].name!r} is {nested[0].type}, which holds more than a value a row.")
    if missing := [name for name in needs.entity_keys if name not in names]:
        raise InvalidRequest(f"The file has no column {missing[0]!r}.", hint=f"Allowed: {allowed}.")
    needed = [name for name in needs.types if name not in needs.lookups and name not in names]
    if needed:
        raise InvalidRequest(f"The file has no column {needed[0]!r}, and no feature view of the entity carries it.")


def _cast(table: pa.Table, needs: Needs) -> pa.Table:
    columns = {}
    for name in table.column_names:
        column, wanted = table[name], _ARROW.get(needs.types[name])
        if wanted is not None and column.type != wanted:
            try:
                column = column.cast(wanted)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise InvalidRequest(f"The column {name!r} is {column.type}, not {wanted}: {error}.") from error
        columns[name] = column
    return pa.table(columns)
