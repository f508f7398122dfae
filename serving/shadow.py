"""The challenger scores some live predictions too, beside the requests: on what the champion was given, for later.

Offering costs a request a random number, and for the share that is picked its own rows of what the challenger needs, in
a queue that is bounded by rows. A thread lets them gather, because nobody waits for them and many are scored for the
price of a few. When it cannot keep up, entries are dropped and counted.
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
_CAPACITY = 10_000  # predictions that may wait or be in hand
_BATCH = 256  # requests that are scored together
_GATHER_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Picked:
    """One request to score again: the values of one feature after the other, of each as many as ids."""

    ids: Sequence[str]
    scores: Sequence[float]
    names: tuple[str, ...]
    values: Sequence[Any]
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
        Predictions that may wait or be in hand; requests beyond are dropped, save one that is larger by itself.
    """

    def __init__(self, folder: Path, share: float, metrics: PredictionMetrics, *, capacity: int = _CAPACITY) -> None:
        self._share, self._metrics = share, metrics
        self._random = random.Random()  # noqa: S311 - a sample, no secret
        self._challenger: PredictionModel | None = None
        self._names: tuple[str, ...] = ()
        self._queue: queue.SimpleQueue[Picked | None] = queue.SimpleQueue()
        self._capacity, self._held, self._lock = capacity, 0, threading.Lock()
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
        self._names = tuple(feature.name for feature in challenger.features) if challenger else ()
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
        if self._held and self._held + len(ids) > self._capacity:
            self._metrics.shadowed("dropped", len(ids))
            return
        # Its own rows: the columns are those of all requests that were answered together. In one list, because a list a
        # feature would be made, and looked at by the garbage collector, for each request that is picked.
        own = slice(first, first + len(ids))
        values: list[Any] = []
        try:
            for name in self._names:
                values += columns[name][own]
        except KeyError:
            self._metrics.shadowed("no_features", len(ids))
            return
        with self._lock:
            self._held += len(ids)
        self._queue.put(Picked(ids, scores[own], self._names, values, now, champion, actor))

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
            with self._lock:
                self._held -= sum(len(one.ids) for one in whole)
            del picked, whole  # or else the last ones would stay until the next come

    def _score(self, challenger: PredictionModel, picked: Sequence[Picked]) -> None:
        names = tuple(feature.name for feature in challenger.features)
        able = [one for one in picked if one.names == names]  # others were picked for the one before
        if lacking := sum(len(one.ids) for one in picked) - sum(len(one.ids) for one in able):
            self._metrics.shadowed("no_features", lacking)
        if not able:
            return
        inputs: dict[str, list[Any]] = {}
        for i, name in enumerate(names):
            inputs[name] = [v for one in able for v in one.values[i * len(one.ids) : (i + 1) * len(one.ids)]]
        try:
            scores = challenger.predict_proba(inputs).tolist()
        except Exception as error:  # noqa: BLE001 - a challenger that fails must not end the thread: said and counted
            log.warning("the challenger failed", extra={"version": challenger.version, "error": repr(error)})
            self._metrics.shadowed("failed", sum(len(one.ids) for one in able))
            return
        at, i = self._clock.now(), 0
        rows: list[dict[str, Any]] = []
        for one in able:
            for prediction_id, score in zip(one.ids, one.scores, strict=True):
                rows.append(
                    {
                        "prediction_id": prediction_id,
                        "predicted_at": one.predicted_at,
                        "at": at,
                        "champion_version": one.champion,
                        "challenger_version": challenger.version,
                        "probability": scores[i],
                        "champion_probability": score,
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
