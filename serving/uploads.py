"""Files of entity ids for predictions by the file: read, checked and kept before a job begins.

A few rows at a time: what is small as a file may be large in memory, and is never there as a whole.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterable, Iterator
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
_MOST_BYTES = 256_000_000  # of all columns and rows, each value spelled out: 5 million rows of 50 bytes
_ROWS_AT_ONCE = 50_000
_MOST_AT_ONCE = 32_000_000  # bytes of so many rows
_MOST_GROUPS = 5_000
_MOST_GROUP = 64_000_000  # bytes of a row group, of which Parquet unpacks whole pages
_LONG = _MOST_AT_ONCE // _ROWS_AT_ONCE  # bytes of a text that not every row may repeat
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


def keep(layout: Layout, rows: Iterable[pa.RecordBatch], body: bytes) -> tuple[str, int]:
    """Keep checked rows under the content hash of the file they came from; return that, and how many they are.

    Raises
    ------
    InvalidRequest
        When there are none.
    """
    upload, count = hashlib.sha256(body).hexdigest()[:32], 0
    with atomic_path(path_of(layout, upload)) as temporary:
        writer = None
        try:
            for batch in rows:
                writer = writer or pq.ParquetWriter(temporary, batch.schema, compression="zstd")
                writer.write_batch(batch)
                count += batch.num_rows
        finally:
            if writer is not None:
                writer.close()
        if not count:
            raise InvalidRequest("The file has no rows.")
    return upload, count


def sweep(layout: Layout, before: datetime) -> int:
    """Remove uploads and results that nobody has touched since ``before`` (UTC); return how many."""
    gone = 0
    for path in (*folder(layout).glob("uploads/*.parquet"), *folder(layout).glob("results/*")):
        if path.stat().st_mtime < before.timestamp():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            gone += 1
    return gone


def read(body: bytes, content_type: str, needs: Needs) -> Iterator[pa.RecordBatch]:
    """Read a file of entities: the columns that a request's entities may have, of their types, some rows at a time.

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
        When it holds too many rows, or unpacks to too many bytes: as soon as that is known.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in CSV:
        batches = _csv(body, needs)
    elif kind in PARQUET:
        batches = _parquet(body, needs)
    else:
        raise InvalidRequest(
            f"The content type {content_type[:60]!r} is neither CSV nor Parquet.",
            hint=f"Send text/csv or {PARQUET[0]}.",
        )
    rows = size = 0
    for batch in batches:
        own = sum(map(_size, batch.columns))
        rows, size = rows + batch.num_rows, size + own
        if rows > _MOST_ROWS:
            raise BatchTooLarge(f"The file has more than {_MOST_ROWS} rows.", hint="Split it.")
        if size > _MOST_BYTES:
            raise BatchTooLarge(f"The file unpacks to more than {_MOST_BYTES} bytes.", hint="Split it.")
        if own > _MOST_AT_ONCE:
            raise BatchTooLarge(f"{batch.num_rows} rows of the file unpack to {own} bytes, which are no ids.")
        yield _cast(batch, needs)


def _csv(body: bytes, needs: Needs) -> Iterator[pa.RecordBatch]:
    types = {name: _ARROW[kind] for name, kind in needs.types.items() if kind in _ARROW}
    try:
        reader = pa_csv.open_csv(
            io.BytesIO(body),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=types, strings_can_be_null=True),
        )
        _check_columns(reader.schema, needs)
        yield from reader
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise InvalidRequest(f"The file cannot be read as CSV: {error}.", hint="Send UTF-8 with a header.") from error


def _parquet(body: bytes, needs: Needs) -> Iterator[pa.RecordBatch]:
    try:
        file = pq.ParquetFile(io.BytesIO(body))
        schema, rows = file.schema_arrow, file.metadata.num_rows
        _check_columns(schema, needs)
        groups = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
        fixed = sum(field.type.byte_width for field in schema if pa.types.is_fixed_size_binary(field.type))
        if len(groups) > _MOST_GROUPS:
            raise BatchTooLarge(f"The file has {len(groups)} row groups.", hint="Write larger ones.")
        if rows > _MOST_ROWS or sum(groups) > _MOST_UNPACKED * max(len(body), 1 << 20):
            raise BatchTooLarge(f"The file unpacks to {rows} rows and {sum(groups)} bytes.", hint="Split it.")
        largest = max(fixed * min(rows, _ROWS_AT_ONCE), *groups, 0)
        if largest > _MOST_GROUP:
            raise BatchTooLarge(
                f"A row group of the file unpacks to {largest} bytes, {_MOST_GROUP} are allowed.",
                hint="Write smaller ones.",
            )
        for number in range(len(groups)):
            once = _repeated(body, file.metadata, number)
            part = pq.ParquetFile(io.BytesIO(body), metadata=file.metadata, read_dictionary=once)
            yield from part.iter_batches(_ROWS_AT_ONCE, row_groups=[number])
    except (pa.ArrowException, OSError) as error:
        raise InvalidRequest(f"The file cannot be read as Parquet: {error}.") from error


def _repeated(body: bytes, metadata: pq.FileMetaData, number: int) -> list[str]:
    """Return the columns of a row group to be read with each text kept once, counted before it is spelled out.

    One long text that many rows repeat is small in the file, and in memory as long as it is kept once. Keeping other
    texts once takes a multiple of their memory, so columns whose dictionary says that they are short are read as they
    are.

    Raises
    ------
    InvalidRequest
        When texts are written as what they share with the one before, which swells too.
    """
    group = metadata.row_group(number)
    return [
        c.path_in_schema for c in map(group.column, range(group.num_columns)) if _repeats(body, metadata, number, c)
    ]


def _repeats(body: bytes, metadata: pq.FileMetaData, number: int, column: pq.ColumnChunkMetaData) -> bool:
    name = column.path_in_schema
    if "DELTA_BYTE_ARRAY" in column.encodings:
        raise InvalidRequest(f"The column {name!r} is encoded as DELTA_BYTE_ARRAY.", hint="Write it without.")
    if not any("DICTIONARY" in encoding for encoding in column.encodings):
        return False
    file = pq.ParquetFile(io.BytesIO(body), metadata=metadata, read_dictionary=[name])
    row = next(file.iter_batches(1, row_groups=[number], columns=[name]), None)
    if row is None or not _is_coded(row[0]):
        return False
    # A dictionary of two and more can only be the column's own: one row is read of what else there may be.
    texts = row[0].dictionary
    return len(texts) < 2 or pc.max(pc.binary_length(texts)).as_py() > _LONG


def _is_coded(column: pa.Array) -> bool:
    return bool(pa.types.is_dictionary(column.type))


def _size(column: pa.Array) -> int:
    """Return how many bytes a column takes with a value for each row."""
    if not _is_coded(column):  # only texts are
        return int(column.nbytes)
    return int(pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0)


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
    # What JSON is among them: a text that would not be kept once.
    if foreign := [field for field in schema if isinstance(field.type, pa.BaseExtensionType)]:
        raise InvalidRequest(f"The column {foreign[0].name!r} is {foreign[0].type}, which is no type of a field.")
    if nested := [field for field in schema if pa.types.is_nested(field.type)]:
        raise InvalidRequest(f"The column {nested[0].name!r} is {nested[0].type}, which holds more than a value a row.")
    if missing := [name for name in needs.entity_keys if name not in names]:
        raise InvalidRequest(f"The file has no column {missing[0]!r}.", hint=f"Allowed: {allowed}.")
    needed = [name for name in needs.types if name not in needs.lookups and name not in names]
    if needed:
        raise InvalidRequest(f"The file has no column {needed[0]!r}, and no feature view of the entity carries it.")


def _cast(batch: pa.RecordBatch, needs: Needs) -> pa.RecordBatch:
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        wanted = _ARROW.get(needs.types[name])
        if _is_coded(column):
            column = column.cast(column.type.value_type)
        if wanted is not None and column.type != wanted:
            try:
                column = column.cast(wanted)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise InvalidRequest(f"The column {name!r} is {column.type}, not {wanted}: {error}.") from error
        columns[name] = column
    return pa.record_batch(columns)
