"""The prediction log: every prediction as the model saw it, written beside the request and never in its way.

Predictions wait in memory for a writer thread that puts them into Parquet parts, each there whole or not at all. The
queue is bounded: when the disk cannot keep up, requests are refused, because a prediction that cannot be
traced is not given. A clean stop writes everything that was answered; a killed process loses at most what waited,
about ``flush_seconds``.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from core.clock import epoch_seconds
from core.errors import Overloaded, Unavailable
from core.files import atomic_path

log = logging.getLogger("punctual.predictions")

_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("predicted_at", _TIME),  # the problem's clock: what the features are as of
        ("served_at", _TIME),  # the machine's clock
        ("entity", pa.string()),  # JSON: join keys and request-time inputs as resolved
        ("features", pa.string()),  # JSON: exactly what the model was given
        ("features_as_of", pa.string()),  # JSON: view -> event time
        ("stale", pa.list_(pa.string())),
        ("probability", pa.float64()),
        ("class", pa.string()),
        ("model_version", pa.string()),
        ("feature_service", pa.string()),
        ("schema_hash", pa.string()),
        ("correlation_id", pa.string()),
    ]
)
_JSON = frozenset({"entity", "features", "features_as_of"})
_PART_ROWS = 20_000
_RETRY_SECONDS = 1.0


class PredictionIds:
    """Unique ids that sort by time, also within one millisecond: 60 bits of time and count, 68 of chance."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> str:
        """Return a new id of 32 hexadecimal digits."""
        self._last = max(self._last + 1, int(epoch_seconds() * 1_000_000))
        return f"{self._last:015x}{secrets.token_hex(9)[:17]}"

    @staticmethod
    def date_of(prediction_id: str) -> str | None:
        """Return the day (UTC) on which an id was given, or None if it is no id of ours."""
        if len(prediction_id) != 32 or not set(prediction_id) <= set("0123456789abcdef"):
            return None
        seconds = int(prediction_id[:15], 16) / 1_000_000
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d") if seconds < 4_102_444_800 else None


@dataclass(frozen=True)
class Lag:
    """How far the log is behind.

    Attributes
    ----------
    waiting : int
        Predictions in memory.
    failing : str
        The last error of the disk, empty when the last write went well.
    """

    waiting: int
    failing: str


class PredictionLog:
    """Writes predictions to ``folder/<day>/<part>.parquet``.

    Parameters
    ----------
    folder : Path
        Root of the log.
    capacity : int
        Predictions that may wait in memory.
    flush_seconds : float
        How long a prediction waits at most before it is written, while the disk keeps up.
    """

    def __init__(self, folder: Path, capacity: int, *, flush_seconds: float = 1.0) -> None:
        self._folder = folder
        self._capacity = capacity
        self._flush_seconds = flush_seconds
        self._waiting: deque[dict[str, Any]] = deque()
        self._wake = threading.Condition()
        self._written = threading.Condition()
        self._done = 0  # predictions written since the start
        self._closing = False
        self._hurry = False
        self._failing = ""
        self._thread = threading.Thread(target=self._write_forever, name="prediction-log", daemon=True)
        self._thread.start()

    @property
    def lag(self) -> Lag:
        """How many predictions wait, and what the disk last complained of."""
        return Lag(len(self._waiting), self._failing)

    def check_room(self, count: int) -> None:
        """Make sure that ``count`` predictions will fit, before they are computed.

        Raises
        ------
        Overloaded
            When they would not.
        """
        if len(self._waiting) + count > self._capacity:
            reason = f" The disk says: {self._failing}." if self._failing else ""
            raise Overloaded(
                f"{len(self._waiting)} predictions wait to be logged, {self._capacity} may.{reason}",
                hint="Try again later; a prediction that cannot be traced is not given.",
            )

    def append(self, records: list[dict[str, Any]]) -> None:
        """Take predictions, one dict of :data:`SCHEMA`'s columns each; does not wait for the disk."""
        self._waiting.extend(records)
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
        closing = False
        while not closing:
            with self._wake:
                self._wake.wait_for(self._is_due, self._flush_seconds)
                self._hurry, closing = False, self._closing
            self._write_waiting()

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

    def _is_due(self) -> bool:
        return self._closing or self._hurry or len(self._waiting) >= _PART_ROWS

    def _write_part(self, count: int) -> bool:
        """Write the oldest ``count`` rows; they leave memory only once they are on disk."""
        rows = [self._waiting[i] for i in range(count)]
        try:
            table = _as_table(rows)
            day = rows[0]["served_at"].strftime("%Y-%m-%d")
            path = self._folder / day / f"{rows[0]['prediction_id']}-{os.getpid()}.parquet"
            with atomic_path(path) as temporary:
                pq.write_table(table, temporary, compression="zstd")
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


def _as_table(rows: list[dict[str, Any]]) -> pa.Table:
    columns = {
        name: [orjson.dumps(r[name], default=str, option=orjson.OPT_UTC_Z).decode() for r in rows]
        if name in _JSON
        else [r[name] for r in rows]
        for name in SCHEMA.names
    }
    return pa.table(columns, schema=SCHEMA)
