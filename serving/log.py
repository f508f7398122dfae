"""The prediction log: every prediction as the model saw it.

The queue is bounded: when the disk cannot keep up, requests are refused, because a prediction that cannot be traced is
not given. How rows get to disk, and what a stop or a crash does to them: :mod:`serving.writer`.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from core.clock import epoch_seconds
from core.errors import Overloaded
from serving.writer import PartWriter

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
        # Parts of before these two were there lack them: asked by nobody who is known, and no what-if.
        ("actor", pa.string()),  # who asked: anna, key:dashboard
        ("what_if", pa.bool_()),  # tried out only: monitoring does not count it
    ]
)
_AT_ONCE = 256  # ids whose chance is fetched together: a system call for each would cost more than the id


class PredictionIds:
    """Unique ids that sort by time, also within one millisecond: 60 bits of time and count, 68 of chance."""

    def __init__(self) -> None:
        self._last = 0
        self._chance: list[str] = []

    def next(self) -> str:
        """Return a new id of 32 hexadecimal digits."""
        self._last = max(self._last + 1, int(epoch_seconds() * 1_000_000))
        if not self._chance:
            chance = secrets.token_hex(9 * _AT_ONCE)
            self._chance = [chance[start : start + 17] for start in range(0, len(chance), 18)]
        return f"{self._last:015x}{self._chance.pop()}"

    @staticmethod
    def date_of(prediction_id: str) -> str | None:
        """Return the day (UTC) on which an id was given, or None if it is no id of ours."""
        if len(prediction_id) != 32 or not set(prediction_id) <= set("0123456789abcdef"):
            return None
        seconds = int(prediction_id[:15], 16) / 1_000_000
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d") if seconds < 4_102_444_800 else None


class PredictionLog(PartWriter):
    """Writes predictions, one dict of :data:`SCHEMA`'s columns each.

    JSON columns come as objects, as pairs of (names, values), or encoded already.

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
        encode = dict.fromkeys(("entity", "features", "features_as_of"), _json)
        super().__init__(folder, SCHEMA, moment="served_at", encode=encode, flush_seconds=flush_seconds)
        self._capacity = capacity

    def check_room(self, count: int) -> None:
        """Make sure that ``count`` predictions will fit, before they are computed.

        Raises
        ------
        Overloaded
            When they would not.
        """
        lag = self.lag
        if lag.waiting + count > self._capacity:
            reason = f" The disk says: {lag.failing}." if lag.failing else ""
            raise Overloaded(
                f"{lag.waiting} predictions wait to be logged, {self._capacity} may.{reason}",
                hint="Try again later; a prediction that cannot be traced is not given.",
            )


def _json(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    content = dict(zip(*value, strict=True)) if isinstance(value, tuple) else value
    return orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z)
