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
from operator import itemgetter
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
Taken = list[Any]  # a row's values, in the order of the schema
_PART_ROWS = 5_000
# The interpreter runs one thread at a time, and two that both want it take longer than one after the other. So rows are
# best encoded by whoever appended them, once their answers are out, and the thread does what runs without the
# interpreter; it makes columns of a few rows at a time, with a breath in between.
_TABLE_ROWS = 250
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
        What makes of some columns' values what is stored; of what it has made already it makes the same again.
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
        names, encode = schema.names, encode or {}
        self._folder, self._schema = folder, schema
        self._values = itemgetter(*names)
        self._encode = [(names.index(name), function) for name, function in encode.items()]
        self._id, self._moment = itemgetter(names.index("prediction_id")), itemgetter(names.index(moment))
        # A dictionary of values that hardly repeat would be work for nothing.
        self._repeating = [name for name in names if name not in encode and name != "prediction_id"]
        self._flush_seconds = flush_seconds
        self._waiting: deque[Taken] = deque()
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
            return max(0.0, (_MACHINE.now() - self._moment(self._waiting[0])).total_seconds())
        except IndexError:
            return 0.0

    def append(self, rows: list[Row]) -> list[Taken]:
        """Take rows; does not wait for the disk. What it returns may be given to :meth:`prepare`."""
        taken = [list(values) for values in map(self._values, rows)]
        self._waiting.extend(taken)
        if len(self._waiting) >= _PART_ROWS:
            with self._wake:
                self._wake.notify()
        return taken

    def prepare(self, taken: list[Taken]) -> None:
        """Encode rows that were taken, at a moment when nobody waits; what is not prepared, the thread encodes."""
        for values in taken:
            for place, encode in self._encode:
                values[place] = encode(values[place])

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
            before = self._done
            self._write_waiting()
            trimmer.maybe(self._done - before)

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

    def _table(self, rows: list[Taken]) -> pa.Table:
        tables = []
        for start in range(0, len(rows), _TABLE_ROWS):
            some = rows[start : start + _TABLE_ROWS]
            self.prepare(some)
            columns = zip(*some, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
            tables.append(pa.Table.from_arrays(arrays, schema=self._schema))
            if not (self._closing or self._hurry):
                time.sleep(_BREATH_SECONDS)
        return pa.concat_tables(tables)

    def _is_due(self) -> bool:
        return self._closing or self._hurry or len(self._waiting) >= _PART_ROWS

    def _write_part(self, count: int) -> bool:
        """Write the oldest ``count`` rows; they leave memory only once they are on disk."""
        rows = [self._waiting[i] for i in range(count)]
        try:
            table = self._table(rows)
            day = self._moment(rows[0]).strftime("%Y-%m-%d")
            path = self._folder / day / f"{self._id(rows[0])}-{os.getpid()}.parquet"
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
