"""The prediction log: every prediction as the model saw it.

The queue is bounded: when the disk cannot keep up, requests are refused, because a prediction that cannot be traced is
not given. How rows get to disk, and what a stop or a crash does to them: :mod:`serving.writer`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from core.clock import epoch_seconds
from core.errors import Overloaded
from serving.parts import Kind
from serving.writer import PartWriter, Taken

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

    def next(self, count: int) -> list[str]:
        """Return new ids of 32 hexadecimal digits."""
        first = max(self._last + 1, int(epoch_seconds() * 1_000_000))
        self._last = first + count - 1
        if len(self._chance) < count:
            chance = secrets.token_hex(9 * max(_AT_ONCE, count))
            self._chance = [chance[start : start + 17] for start in range(0, len(chance), 18)]
        return [f"{number:015x}{self._chance.pop()}" for number in range(first, first + count)]

    @staticmethod
    def given_at(prediction_id: str) -> float | None:
        """Return when an id was given, in seconds since 1970 UTC, or None if it is no id of ours."""
        if len(prediction_id) != 32 or not set(prediction_id) <= set("0123456789abcdef"):
            return None
        seconds = int(prediction_id[:15], 16) / 1_000_000
        return seconds if seconds < 4_102_444_800 else None

    @classmethod
    def date_of(cls, prediction_id: str) -> str | None:
        """Return the day (UTC) on which an id was given, or None if it is no id of ours."""
        seconds = cls.given_at(prediction_id)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


@dataclass(frozen=True, slots=True)
class Made:
    """Predictions that were made together, a list a column; as many in each.

    Attributes
    ----------
    shared : dict of str to object
        The columns that hold the same for all of them.
    own : dict of str to sequence
        The others, but for the next four.
    entity, features : dict of str to sequence
        Join keys and inputs by name, and what the model was given by feature: of these predictions and perhaps of
        others.
    places : sequence of int
        Where among the values of those two these predictions are.
    features_as_of : sequence of bytes
        A JSON object each.
    """

    shared: Mapping[str, Any]
    own: Mapping[str, Sequence[Any]]
    entity: Mapping[str, Sequence[Any]]
    features: Mapping[str, Sequence[Any]]
    places: Sequence[int]
    features_as_of: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.places)


def _table(lines: Sequence[bytes]) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for line in lines:
        made = orjson.loads(line)
        count = len(made["places"])
        for name, value in made["shared"].items():
            columns[name] += [datetime.fromisoformat(value) if name in _TIMES else value] * count
        for name, values in made["own"].items():
            columns[name] += values
        columns["features_as_of"] += map(orjson.dumps, made["features_as_of"])
        for name in ("entity", "features"):
            names, rows = made[name].keys(), list(zip(*made[name].values(), strict=True))
            # A model of no features was given nothing, as often as it was asked.
            own = [rows[place] for place in made["places"]] if rows else [()] * count
            columns[name] += [orjson.dumps(dict(zip(names, row, strict=True))) for row in own]
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


_TIMES = frozenset(("predicted_at", "served_at"))
PREDICTIONS = Kind(
    _table,
    moment="served_at",
    repeating=[n for n in SCHEMA.names if n not in ("prediction_id", "entity", "features", "features_as_of")],
)


class PredictionLog(PartWriter):
    """Writes predictions, in the columns of :data:`SCHEMA`.

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
        super().__init__(folder, PREDICTIONS, flush_seconds=flush_seconds)
        self._capacity = capacity

    def append(self, made: Made) -> Taken:
        """Take predictions; does not wait for the disk."""
        content = {
            "shared": made.shared,
            "own": made.own,
            "entity": made.entity,
            "features": made.features,
            "places": list(made.places),
            "features_as_of": orjson.Fragment(b"[" + b",".join(made.features_as_of) + b"]"),
        }
        return self.take(content, len(made), made.shared["served_at"])

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
