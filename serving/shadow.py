"""The challenger scores some live predictions too, beside the requests: on what the champion was given, for later.

Offering costs a request a random number, and for the share that is picked an entry in a bounded queue. A thread lets
them gather, because nobody waits for them and many are scored for the price of a few. When it cannot keep up, entries
are dropped and counted.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from core.clock import SystemClock
from serving.parts import Kind
from serving.writer import PartWriter

if TYPE_CHECKING:
    from core.model import PredictionModel
    from serving.metrics import PredictionMetrics

log = logging.getLogger("punctual.shadow")

_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("predicted_at", _TIME),  # the problem's clock
        ("at", _TIME),  # the machine's clock, when the challenger scored
        ("champion_version", pa.string()),
        ("challenger_version", pa.string()),
        ("probability", pa.float64()),
        ("champion_probability", pa.float64()),
        ("actor", pa.string()),  # who asked; parts of before the column was there lack it
    ]
)
_CAPACITY = 1_000  # requests that may wait
_BATCH = 256  # requests that are scored together
_GATHER_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Picked:
    """One request to score again: its predictions are rows ``first`` onwards of columns shared with other requests."""

    ids: Sequence[str]
    first: int
    scores: Sequence[float]
    columns: Mapping[str, Sequence[Any]]
    predicted_at: datetime
    champion: str
    actor: str | None = None


class Shadow:
    """Scores a share of requests with a challenger.

    Parameters
    ----------
    folder : Path
        Root of ``<day>/<part>.parquet``.
    share : float
        Share of requests, 0 to 1.
    metrics : PredictionMetrics
        Counts what was scored and what was not.
    capacity : int
        Requests that may wait; beyond, they are dropped.
    """

    def __init__(self, folder: Path, share: float, metrics: PredictionMetrics, *, capacity: int = _CAPACITY) -> None:
        self._share, self._metrics = share, metrics
        self._random = random.Random()  # noqa: S311 - a sample, no secret
        self._challenger: PredictionModel | None = None
        self._queue: queue.Queue[Picked | None] = queue.Queue(capacity)
        self._clock = SystemClock()
        self._closing = threading.Event()
        self._writer = PartWriter(folder, SCORED)
        self._thread = threading.Thread(target=self._score_forever, name="shadow", daemon=True)
        self._thread.start()

    @property
    def challenger(self) -> PredictionModel | None:
        """The model that scores beside the champion."""
        return self._challenger

    def use(self, challenger: PredictionModel | None) -> None:
        """Score with another challenger from now on, or with none."""
        self._challenger = challenger

    def offer(
        self,
        ids: Sequence[str],
        first: int,
        scores: Sequence[float],
        columns: Mapping[str, Sequence[Any]],
        now: datetime,
        champion: str,
        actor: str | None = None,
    ) -> None:
        """Pick a request, perhaps, to be scored once more; never waits."""
        challenger = self._challenger
        if challenger is None or champion == challenger.version or self._random.random() >= self._share:
            return
        try:
            self._queue.put_nowait(Picked(ids, first, scores, columns, now, champion, actor))
        except queue.Full:
            self._metrics.shadowed("dropped", len(ids))

    def close(self) -> None:
        """Score what waits, and write it."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join(10)
        self._writer.close(10)

    def _score_forever(self) -> None:
        closing = False
        while not closing:
            picked = [self._queue.get()]
            self._closing.wait(_GATHER_SECONDS)
            while len(picked) < _BATCH and not self._queue.empty():
                picked.append(self._queue.get())
            closing = None in picked
            challenger = self._challenger
            whole = [one for one in picked if one is not None]
            if challenger is not None and whole:
                self._score(challenger, whole)

    def _score(self, challenger: PredictionModel, picked: Sequence[Picked]) -> None:
        names = [feature.name for feature in challenger.features]
        able = [one for one in picked if all(name in one.columns for name in names)]
        if lacking := sum(len(one.ids) for one in picked) - sum(len(one.ids) for one in able):
            self._metrics.shadowed("no_features", lacking)
        if not able:
            return
        inputs = {
            name: [value for one in able for value in one.columns[name][one.first : one.first + len(one.ids)]]
            for name in names
        }
        try:
            scores = challenger.predict_proba(inputs).tolist()
        except Exception as error:  # noqa: BLE001 - a challenger that fails must not end the thread: said and counted
            log.warning("the challenger failed", extra={"version": challenger.version, "error": repr(error)})
            self._metrics.shadowed("failed", sum(len(one.ids) for one in able))
            return
        at, i = self._clock.now(), 0
        rows: list[dict[str, Any]] = []
        for one in able:
            for offset, prediction_id in enumerate(one.ids):
                rows.append(
                    {
                        "prediction_id": prediction_id,
                        "predicted_at": one.predicted_at,
                        "at": at,
                        "champion_version": one.champion,
                        "challenger_version": challenger.version,
                        "probability": scores[i],
                        "champion_probability": one.scores[one.first + offset],
                        "actor": one.actor,
                    }
                )
                i += 1
        self._writer.take(rows, len(rows), at)
        self._metrics.shadowed("scored", len(rows))


def _table(lines: Sequence[bytes]) -> pa.Table:
    rows = [row for line in lines for row in orjson.loads(line)]
    for row in rows:
        for name in ("predicted_at", "at"):
            row[name] = datetime.fromisoformat(row[name])
    return pa.Table.from_pylist(rows, schema=SCHEMA)


SCORED = Kind(_table, moment="at", repeating=[name for name in SCHEMA.names if name != "prediction_id"])
