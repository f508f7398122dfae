"""From entities to predictions: look up what was not sent, read the features, score, and log what the model saw."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from core.clock import SystemClock
from core.errors import InvalidRequest, ModelUnavailable, RequestError, Unavailable, UnknownEntity
from core.logs import correlation_id
from serving.batching import Batcher
from serving.log import PredictionIds, PredictionLog
from serving.lookup import NOTHING, Bad, Lookup
from serving.request import Entity, offending
from stores.codec import from_microseconds
from stores.reader import OnlineRows, Status

if TYPE_CHECKING:
    from core.clock import Clock
    from core.model import PredictionModel
    from serving.metrics import PredictionMetrics
    from serving.resolve import Needs
    from serving.shadow import Shadow

Answer = dict[str, Any]
# Up to here a model call is shorter than handing it to a thread and back, and than what a request may wait for others.
_INLINE_ROWS = 256
_TOGETHER = 64  # entities that are answered together
_LATE = (Status.STALE, Status.EXPIRED)


def check_fit(model: PredictionModel, needs: Needs) -> None:
    """Make sure that the feature service gives everything the model was trained on.

    Raises
    ------
    ModelUnavailable
        Naming the features that it does not give.
    """
    given = {f.name for p in needs.service.feature_view_projections for f in p.features} | needs.types.keys()
    if missing := [f.name for f in model.features if f.name not in given]:
        raise ModelUnavailable(
            f"The model {model.version} needs {', '.join(missing)}, which {needs.service.name} does not give.",
            hint="The feature service was changed after training: train again.",
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its entities, and the id that finds it in the logs."""

    entities: Sequence[Entity]
    request: str

    def __len__(self) -> int:
        return len(self.entities)


class Predictor:
    """Predicts with one model, for as long as that is the one to serve with.

    A request is answered by one predictor from its beginning to its end, so an answer is never of two models.

    Parameters
    ----------
    lookup : Lookup
        Where features come from.
    model : PredictionModel
        What to score with.
    clock : Clock
        What "now" is for features.
    log : PredictionLog
        Where every prediction goes.
    ids : PredictionIds
        The process's own: ids are unique over all predictors.
    metrics : PredictionMetrics, optional
        Counts what is predicted.
    shadow : Shadow, optional
        Scores some of the predictions with a second model, beside the requests.

    Raises
    ------
    ModelUnavailable
        When the model asks for features that there are not.
    """

    def __init__(
        self,
        lookup: Lookup,
        model: PredictionModel,
        clock: Clock,
        log: PredictionLog,
        ids: PredictionIds,
        *,
        metrics: PredictionMetrics | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        check_fit(model, lookup.needs)
        self.lookup, self.model = lookup, model
        self._clock, self._log, self._ids = clock, log, ids
        self._metrics, self._shadow = metrics, shadow
        self._machine = SystemClock()
        self._names = tuple(f.name for f in model.features)
        self._constant = {
            "model_version": model.version,
            "feature_service": lookup.needs.service.name,
            "schema_hash": model.schema_hash,
        }
        self._batcher: Batcher[Call, list[Answer]] = Batcher(self.answer, most=_TOGETHER)

    @property
    def idle(self) -> bool:
        """Whether no request is in hand."""
        return self._batcher.idle

    def warm(self) -> None:
        """Score once, so that the first request does not pay for what that loads."""
        self.model.predict_proba({name: [None] for name in self._names})

    async def predict(self, entities: Sequence[Entity]) -> list[Answer]:
        """Return one prediction an entity, in order, and hand them to the log.

        Raises
        ------
        UnknownEntity, InvalidRequest
            Naming every entity that is not known, or lacks an input.
        StaleFeatures, StoreUnavailable, Overloaded
            As the reader and the log say.
        """
        self._log.check_room(len(entities))
        return await self._batcher(Call(entities, correlation_id.get()))

    async def answer(self, calls: Sequence[Call]) -> list[list[Answer] | Exception]:
        """Answer several calls together; what is wrong with one of them is no other's trouble.

        Raises
        ------
        StoreUnavailable
            When nothing can be answered.
        """
        try:
            return await self._together(calls)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - it is the answer to the call that it is about
            if len(calls) == 1:
                return [error]
        answers: list[list[Answer] | Exception] = []
        for call in calls:
            answers += await self.answer([call])
        return answers

    async def _together(self, calls: Sequence[Call]) -> list[list[Answer] | Exception]:
        now, start = self._clock.now(), perf_counter()
        turn = _Turn(calls)
        looked_up, unknown = await self.lookup.fill(turn.rows, now)
        turn.refuse(UnknownEntity, unknown)
        turn.refuse(InvalidRequest, self.lookup.incomplete(turn.rows))
        # Rows of refused calls go on without keys: that asks for nothing, and positions stay.
        online = await self.lookup.features.read(turn.good_rows(), now)
        turn.refuse(UnknownEntity, self.lookup.unknown(turn.rows, online, looked_up))
        if self._metrics:
            self._metrics.looked_up(perf_counter() - start)
        if turn.good:
            await self._score(turn, online, now)
        return turn.answers()

    async def _score(self, turn: _Turn, online: OnlineRows, now: datetime) -> None:
        columns = self.lookup.columns(turn.rows, online)
        inputs = {name: columns[name] for name in self._names}
        start = perf_counter()
        if len(turn.rows) > _INLINE_ROWS:
            scores = (await asyncio.to_thread(self.model.predict_proba, inputs)).tolist()
        else:
            scores = self.model.predict_proba(inputs).tolist()
        if self._metrics:
            self._metrics.scored(perf_counter() - start)
        served, name = self._machine.now(), self.model.label
        as_of, late = _as_of(online, len(turn.rows)), _late(online)
        seen = list(zip(*inputs.values(), strict=True)) if inputs else [()] * len(scores)
        records = []
        for call, first in turn.good:
            answers = []
            for i, entity in enumerate(call.entities, first):
                core = {"prediction_id": self._ids.next(), "class": name(scores[i]), "probability": scores[i]}
                stale = [view for view, status in late if status[i] in _LATE]
                answers.append(
                    {
                        "prediction_id": core["prediction_id"],
                        **entity,
                        "class": core["class"],
                        "probability": scores[i],
                        "model_version": self._constant["model_version"],
                        "features_as_of": orjson.Fragment(as_of[i]),
                        "stale": stale,
                    }
                )
                records.append(
                    {
                        **core,
                        **self._constant,
                        "predicted_at": now,
                        "served_at": served,
                        "entity": turn.rows[i],
                        "features": (self._names, seen[i]),  # the writer makes an object of it
                        "features_as_of": as_of[i],
                        "stale": stale,
                        "correlation_id": call.request,
                    }
                )
            turn.give(first, answers)
            if self._shadow is not None:
                self._shadow.offer(
                    [a["prediction_id"] for a in answers], first, scores, columns, now, self.model.version
                )
        self._log.append(records)
        if self._metrics:
            self._metrics.predicted(records)


class _Turn:
    """Calls that are answered together: all their rows, and what has become of each call."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.rows: list[Entity] = [dict(entity) for call in calls for entity in call.entities]
        self._starts: list[int] = []
        first = 0
        for call in calls:
            self._starts.append(first)
            first += len(call)
        self.good = list(zip(calls, self._starts, strict=True))
        self._answers: dict[int, list[Answer] | Exception] = {}

    def refuse(self, kind: type[RequestError], bad: Bad) -> None:
        """Take out the calls that have bad rows, each told of its own."""
        if not bad:
            return
        good = []
        for call, first in self.good:
            own = {i - first: bad[i] for i in range(first, first + len(call)) if i in bad}
            if own:
                self._answers[first] = offending(kind, own)
            else:
                good.append((call, first))
        self.good = good

    def good_rows(self) -> list[Entity]:
        """Return all rows, those of refused calls without their keys."""
        if not self._answers:
            return self.rows
        rows: list[Entity] = [{} for _ in self.rows]
        for call, first in self.good:
            rows[first : first + len(call)] = self.rows[first : first + len(call)]
        return rows

    def give(self, first: int, answers: list[Answer]) -> None:
        """Keep the answers of the call that begins at a row."""
        self._answers[first] = answers

    def answers(self) -> list[list[Answer] | Exception]:
        """Return what each call gets, in their order."""
        return [self._answers[first] for first in self._starts]


@lru_cache(maxsize=50_000)
def _moment(microseconds: int) -> bytes:
    return orjson.dumps(from_microseconds(microseconds), option=orjson.OPT_UTC_Z)


def _as_of(online: OnlineRows, count: int) -> list[bytes]:
    """Return for each row a JSON object: view -> when its values became known; null where nothing is known."""
    columns = []
    for name, view in online.views.items():
        head = orjson.dumps(name) + b":"
        columns.append(
            [
                head + (b"null" if us is None or status in NOTHING else _moment(us))
                for status, us in zip(view.status, view.event_us, strict=True)
            ]
        )
    return [b"{" + b",".join(row) + b"}" for row in zip(*columns, strict=True)] if columns else [b"{}"] * count


def _late(online: OnlineRows) -> list[tuple[str, list[Status]]]:
    """Return the views of which some row is older than promised."""
    return [
        (name, view.status)
        for name, view in online.views.items()
        if Status.STALE in view.status or Status.EXPIRED in view.status
    ]
