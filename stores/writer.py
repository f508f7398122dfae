"""Bulk materialization: feature files into the online store, by arrival and not by event time.

Feast materializes an interval of event times and remembers where it stopped: what arrives late lies before that mark
and never gets online, and applying a changed definition resets the mark. Here a ledger (:mod:`stores.ledger`) says
which files are in, whatever times they hold.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
from redis.exceptions import RedisError

from core.errors import ConfigError, DataError
from core.files import digest_of, sha256
from core.redis import parse_address
from stores import ledger
from stores.codec import encode_column
from stores.connection import connect, online_config, unavailable
from stores.feature_files import FeatureRows
from stores.keys import KeyEncoder
from stores.plan import key_types
from stores.sources import file_source, parquet_files
from stores.sql import connect as connect_duckdb
from stores.upsert import Upsert
from stores.wire import Wire

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView
    from redis import Redis

    from core.progress import Advance


@dataclass
class ViewReport:
    """What was done for one view.

    Attributes
    ----------
    files : int
        Feature files that were new or changed.
    rows : int
        Rows in them.
    written : int
        Rows written: the latest of each key, unless the store held a newer one.
    future : int
        Rows stamped later than now; their files are looked at again next time.
    unusable : int
        Rows without a join key or event time.
    """

    files: int = 0
    rows: int = 0
    written: int = 0
    future: int = 0
    unusable: int = 0


@dataclass
class MaterializeReport:
    """What a materialization did, by view."""

    views: dict[str, ViewReport] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def written(self) -> int:
        """Rows written into the online store."""
        return sum(view.written for view in self.views.values())

    def summary(self) -> str:
        """Return a few lines for people."""
        lines = []
        for name, view in self.views.items():
            notes = f", {view.future:,} not due yet" if view.future else ""
            notes += f", {view.unusable:,} without a key or time" if view.unusable else ""
            if view.files:
                lines.append(f"{name}: {view.written:,} keys from {view.rows:,} rows in {view.files} files{notes}")
        if not lines:
            return "The online store is up to date."
        return "\n".join([*lines, f"{self.written:,} rows written in {self.seconds:.1f} s."])


def materialize(
    store: FeatureStore,
    views: Sequence[str] | None = None,
    *,
    now: datetime,
    progress: Advance | None = None,
) -> MaterializeReport:
    """Write what arrived since the last time into the online store.

    Killed anywhere and started again, or run twice at once, it leads to the same store. When a file that was taken in
    has changed or is gone (a rebuild), the view's whole history is written over what is stored; keys that no longer
    occur in it at all stay until their view is deleted or expires.

    Parameters
    ----------
    store : FeatureStore
        Any Feast store with Parquet sources and a Redis online store.
    views : sequence of str, optional
        Names of feature views; default: all with ``online=True``.
    now : datetime
        Timezone-aware; rows with a later event time are left for another time.
    progress : callable, optional
        Called with the number of rows just handled.

    Raises
    ------
    ConfigError
        When a view is unknown, or a source or store is of another kind.
    DataError
        When a feature file lacks a column or cannot be read.
    StoreUnavailable
        When Redis does not answer; what was written stays.
    """
    started = time.perf_counter()
    report = MaterializeReport()
    client = connect(store.config)
    try:
        for view in _chosen(store, views):
            report.views[view.name] = _materialize_view(store, client, view, now, progress)
    except (RedisError, OSError) as error:
        address = parse_address(online_config(store.config).connection_string)
        raise unavailable(address, error) from error
    finally:
        client.close()
    report.seconds = time.perf_counter() - started
    return report


def _chosen(store: FeatureStore, names: Sequence[str] | None) -> list[FeatureView]:
    views = {view.name: view for view in store.list_feature_views() if view.online}
    if names is None:
        return [views[name] for name in sorted(views)]
    if unknown := [name for name in names if name not in views]:
        raise ConfigError(
            f"There is no online feature view {unknown[0]!r}.", hint=f"There are: {', '.join(sorted(views)) or 'none'}."
        )
    return [views[name] for name in names]


def _materialize_view(
    store: FeatureStore, client: Redis, view: FeatureView, now: datetime, progress: Advance | None
) -> ViewReport:
    config, folder = store.config, store.config.repo_path or store.repo_path
    source = file_source(view.batch_source, view.name)
    shape = ledger.shape(view)
    present = {
        os.path.relpath(path, folder): (path, digest_of(sha256(Path(path)), shape))
        for path in parquet_files(source, folder)
    }
    taken = ledger.read(client, config, view)
    rewritten = any(name not in present or present[name][1] != digest for name, digest in taken.items())
    pending = {name: entry for name, entry in present.items() if rewritten or name not in taken}
    report = ViewReport(files=len(pending))
    if pending:
        wire = Wire(config)
        upsert = Upsert(
            wire,
            ledger.stored_name(config, view),
            [feature.name for feature in view.features],
            expiry=online_config(config).key_ttl_seconds,
            force=rewritten,
        )
        try:
            with closing(wire), connect_duckdb() as con:
                rows = FeatureRows(con, view, [path for path, _ in pending.values()], now)
                counts = rows.count()
                report.written = _write(upsert, KeyEncoder(config.project, key_types(view)), view, rows, progress)
        except duckdb.Error as error:
            raise DataError(
                f"The feature files of {view.name!r} cannot be read: {error}".replace("\n", " "),
                hint="Compute them again: punctual transform --rebuild",
            ) from error
        report.rows = sum(count.rows for count in counts)
        report.future = sum(count.future for count in counts)
        report.unusable = sum(count.unusable for count in counts)
        held_back = {count.path for count in counts if count.future}
        whole = {name: digest for name, (path, digest) in pending.items() if path not in held_back}
        ledger.enter(client, config, view, whole)
    ledger.strike(client, config, view, taken.keys() - present.keys())
    return report


def _write(upsert: Upsert, encoder: KeyEncoder, view: FeatureView, rows: FeatureRows, progress: Advance | None) -> int:
    """Encode a batch while the one before it is on its way to Redis; return how many rows were written."""
    written = 0
    with ThreadPoolExecutor(1) as sender:
        sent: tuple[Future[int], int] | None = None
        for batch in rows.latest():
            encoded = _encode(encoder, view, batch)
            if sent is not None:
                written += _arrived(sent, view, progress)
            sent = sender.submit(upsert.write, *encoded), len(batch)
        if sent is not None:
            written += _arrived(sent, view, progress)
    return written


def _arrived(sent: tuple[Future[int], int], view: FeatureView, progress: Advance | None) -> int:
    future, rows = sent
    written = future.result()
    if progress:
        progress(rows, note=view.name)
    return written


def _encode(
    encoder: KeyEncoder, view: FeatureView, batch: pa.RecordBatch
) -> tuple[list[bytes], list[int], list[int], list[list[bytes]]]:
    width = len(encoder.names)
    values = []
    for feature, column in zip(view.features, batch.columns[width:], strict=False):
        try:
            values.append(encode_column(column, feature.dtype.to_value_type()))
        except (TypeError, ValueError, AssertionError, KeyError) as error:
            raise DataError(
                f"{view.name!r}: the column {feature.name!r} ({column.type}) cannot be stored "
                f"as {feature.dtype}: {error}",
                hint="Cast it in the view's SQL, or declare its type.",
            ) from error
    times = batch.column("stamp").to_pylist(), batch.column("created").to_pylist()
    return encoder.encode_columns(batch.columns[:width]), *times, values
