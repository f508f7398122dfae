"""Writes rows beside the requests and never in their way: a bounded queue, a thread, and Parquet parts a day.

Each part is there whole or not at all. A clean stop writes everything that was taken; a killed process loses at most
what waited, about ``flush_seconds``.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.clock import SystemClock
from core.errors import Unavailable
from core.files import atomic_path
from serving.memory import Trimmer

log = logging.getLogger("punctual.predictions")

Row = dict[str, Any]
_PART_ROWS = 5_000
# The interpreter runs one thread at a time. Rows are made ready in small portions with a breath between them, so that
# no request waits for more than a portion; a table costs by the column, so it is made of several portions.
_PORTION_ROWS = 50
_TABLE_ROWS = 5 * _PORTION_ROWS
_BREATH_SECONDS = 0.001
_RETRY_SECONDS = 1.0
_MACHINE = SystemClock()


@dataclass(frozen=True)
class Lag:
    """How far the disk is behind.

    Attributes
    ----------
    waiting : int
        Rows in memory.
    failing : str
        The last error of the disk, empty when the last write went well.
    """

    waiting: int
    failing: str


class PartWriter:
    """Writes rows to ``folder/<day>/<prediction id of the first>-<pid>.parquet``.

    Parameters
    ----------
    folder : Path
        Root of the parts.
    schema : pa.Schema
        The columns of a row, ``prediction_id`` and the moment of its day among them.
    moment : str
        The column that says which day a part belongs to.
    encode : mapping of str to callable
        What makes of some columns' values what is stored.
    flush_seconds : float
        How long a row waits at most before it is written, while the disk keeps up.
    """

    def __init__(
        self,
        folder: Path,
        schema: pa.Schema,
        *,
        moment: str,
        encode: Mapping[str, Callable[[Any], bytes]] | None = None,
        flush_seconds: float = 1.0,
    ) -> None:
        self._folder, self._schema, self._moment = folder, schema, moment
        self._encode = dict(encode or {})
        # A dictionary of values that hardly repeat would be work for nothing.
        self._repeating = [name for name in schema.names if name not in self._encode and name != "prediction_id"]
        self._flush_seconds = flush_seconds
        self._waiting: deque[Row] = deque()
        self._wake = threading.Condition()
        self._written = threading.Condition()
        self._done = 0  # rows written since the start
        self._closing = False
        self._hurry = False
        self._failing = ""
        self._thread = threading.Thread(target=self._write_forever, name=f"writer-{folder.name}", daemon=True)
        self._thread.start()

    @property
    def lag(self) -> Lag:
        """How many rows wait, and what the disk last complained of."""
        return Lag(len(self._waiting), self._failing)

    def waited(self) -> float:
        """Return for how many seconds the oldest row has waited; 0 when none does."""
        try:
            return max(0.0, (_MACHINE.now() - self._waiting[0][self._moment]).total_seconds())
        except IndexError:
            return 0.0

    def append(self, rows: list[Row]) -> None:
        """Take rows; does not wait for the disk."""
        self._waiting.extend(rows)
        if len(self._waiting) >= _PART_ROWS:
            with self._wake:
                self._wake.notify()

    def flush(self, timeout: float = 10.0) -> None:
        """Wait until everything taken so far is on disk.

        Raises
        ------
        Unavailable
            When the disk does not take it in time.
        """
        with self._written:
            target = self._done + len(self._waiting)
        with self._wake:
            self._hurry = True
            self._wake.notify()
        with self._written:
            if not self._written.wait_for(lambda: self._done >= target, timeout):
                raise Unavailable(f"{self.lag.waiting} predictions could not be logged yet. {self._failing}".strip())

    def close(self, timeout: float = 30.0) -> None:
        """Write what waits and stop; what the disk refuses until ``timeout`` is counted in the service's log."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout)
        if self.lag.waiting:
            log.error("predictions lost at stop", extra={"count": self.lag.waiting, "error": self._failing})

    def _write_forever(self) -> None:
        closing, trimmer = False, Trimmer()
        while not closing:
            with self._wake:
                self._wake.wait_for(self._is_due, self._flush_seconds)
                self._hurry, closing = False, self._closing
            self._write_waiting()
            trimmer.maybe()

    def _write_waiting(self) -> None:
        """Write what waits by now, trying until the disk takes it; when stopping, only once."""
        left = len(self._waiting)  # what comes in from here on waits for the next part
        while left > 0:
            count = min(left, _PART_ROWS)
            if self._write_part(count):
                left -= count
                continue
            with self._wake:
                if self._wake.wait_for(lambda: self._closing, _RETRY_SECONDS):
                    return

    def _table(self, rows: list[Row]) -> pa.Table:
        tables = []
        for start in range(0, len(rows), _TABLE_ROWS):
            columns: dict[str, list[Any]] = {name: [] for name in self._schema.names}
            for first in range(start, min(start + _TABLE_ROWS, len(rows)), _PORTION_ROWS):
                self._fill(columns, rows[first : first + _PORTION_ROWS])
                if not (self._closing or self._hurry):
                    time.sleep(_BREATH_SECONDS)
            tables.append(pa.table(columns, schema=self._schema))
        return pa.concat_tables(tables)

    def _fill(self, columns: dict[str, list[Any]], rows: list[Row]) -> None:
        for name, column in columns.items():
            encode = self._encode.get(name)
            column += [row[name] for row in rows] if encode is None else [encode(row[name]) for row in rows]

    def _is_due(self) -> bool:
        return self._closing or self._hurry or len(self._waiting) >= _PART_ROWS

    def _write_part(self, count: int) -> bool:
        """Write the oldest ``count`` rows; they leave memory only once they are on disk."""
        rows = [self._waiting[i] for i in range(count)]
        try:
            table = self._table(rows)
            day = rows[0][self._moment].strftime("%Y-%m-%d")
            path = self._folder / day / f"{rows[0]['prediction_id']}-{os.getpid()}.parquet"
            with atomic_path(path) as temporary:
                pq.write_table(table, temporary, compression="zstd", use_dictionary=self._repeating)
        except OSError as error:
            if not self._failing:
                log.error("the prediction log cannot be written", extra={"error": str(error)})
            self._failing = str(error)
            return False
        self._failing = ""
        with self._written:
            for _ in range(count):
                self._waiting.popleft()
            self._done += count
            self._written.notify_all()
        return True
