"""From entities to predictions: look up what was not sent, read the features, score, and log what the model saw."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from core.clock import SystemClock
from core.errors import DataError, InvalidRequest, ModelUnavailable, Unavailable, UnknownEntity
from core.logs import correlation_id
from serving.as_of import LATE, AsOf, late_views
from serving.batching import Batcher
from serving.log import Made, PredictionIds, PredictionLog
from serving.lookup import Given, Lookup, only
from serving.turn import Answer, Call, Turn

if TYPE_CHECKING:
    import numpy as np

    from core.clock import Clock
    from core.model import PredictionModel
    from serving.metrics import PredictionMetrics
    from serving.request import Entity
    from serving.resolve import Needs
    from serving.shadow import Shadow
    from serving.writer import Taken
    from stores.rows import OnlineRows

log = logging.getLogger("punctual.predictions")

# Up to here a model call is shorter than handing it to a thread and back, and than what a request may wait for others.
_INLINE_ROWS = 256
_TOGETHER = 64  # entities that are answered together
_LEISURE_SECONDS = 0.002  # after an answer, until what nobody waits for is done without the next request


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
        self._as_of = AsOf([plan.name for plan in lookup.plans])
        self._undone: deque[tuple[Taken, Made, np.ndarray]] = deque()
        self._due = False  # whether it will be done in time by itself
        self._batcher: Batcher[Call, list[Answer]] = Batcher(self.answer, most=_TOGETHER)

    @property
    def idle(self) -> bool:
        """Whether no request is in hand."""
        return self._batcher.idle

    def warm(self) -> None:
        """Score once, so that the first request does not pay for what that loads."""
        self.model.predict_proba({name: [None] for name in self._names})

    async def predict(
        self, entities: Sequence[Entity], *, actor: str | None = None, what_if: bool = False
    ) -> list[Answer]:
        """Return one prediction an entity, in order, and hand them to the log.

        Parameters
        ----------
        entities : sequence of dict
            As they were read from a request.
        actor : str, optional
            Who asks.
        what_if : bool
            Whether it is tried out only: logged like any other, and not counted.

        Raises
        ------
        UnknownEntity, InvalidRequest
            Naming every entity that is not known, or lacks an input.
        StaleFeatures, StoreUnavailable, Overloaded
            As the reader and the log say.
        """
        self._log.check_room(len(entities))
        return await self._batcher(Call(entities, correlation_id.get(), actor, what_if))

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
        turn, lookup = Turn(calls), self.lookup
        given = lookup.given([entity for call in calls for entity in call.entities])
        if self._undone:
            asyncio.get_running_loop().call_soon(self.catch_up)  # which is when the store has been asked
        known = await lookup.begin(given, now)
        turn.refuse(UnknownEntity, lookup.fill(given, known))
        turn.refuse(InvalidRequest, lookup.incomplete(given))
        # Rows of refused calls go on without keys: that asks for nothing, and positions stay.
        online = await lookup.finish(only(given, turn.rows), known, now)
        turn.refuse(UnknownEntity, lookup.unknown(given, known))
        if self._metrics:
            self._metrics.looked_up(perf_counter() - start)
        if turn.good:
            await self._score(turn, given, online, now)
        return turn.answers()

    async def _score(self, turn: Turn, given: Given, online: OnlineRows, now: datetime) -> None:
        try:
            columns = self.lookup.columns(given, online)
        except DataError as error:
            if len(turn.good) > 1:
                raise  # they are tried again, each by itself
            ((call, first),) = turn.good
            sent = dict(enumerate(call.entities, first))
            # In a thread, because row by row it takes long, and others wait.
            turn.refuse(InvalidRequest, await asyncio.to_thread(self.lookup.unfit, given, online, sent))
            if turn.good:
                raise
            # Said here too, because it may be the view's own fault; without the values, which are the client's.
            log.warning("an on-demand view failed on what was sent", extra={"error": type(error.__cause__).__name__})
            return
        start = perf_counter()
        matrix = self.model.matrix(columns)
        if turn.count > _INLINE_ROWS:
            scores = (await asyncio.to_thread(self.model.score, matrix)).tolist()
        else:
            scores = self.model.score(matrix).tolist()
        if self._metrics:
            self._metrics.scored(perf_counter() - start)
        made = self._give(turn, scores, given, columns, online, now)
        self._undone.append((self._log.append(made), made, matrix))
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(_LEISURE_SECONDS, self._in_time)

    def _in_time(self) -> None:
        self._due = False
        self.catch_up()

    def catch_up(self) -> None:
        """Do what nobody waits for: while the store works on the next request, or soon after when there is none."""
        while self._undone:
            taken, made, matrix = self._undone.popleft()
            taken.line()
            if self._metrics:
                self._metrics.predicted(made, self.model.gaps(matrix))

    def _give(
        self,
        turn: Turn,
        scores: list[float],
        given: Given,
        columns: dict[str, list[Any]],
        online: OnlineRows,
        now: datetime,
    ) -> Made:
        """Give each call its answers, and return all of it for the log."""
        count = turn.count
        as_of, late = self._as_of(online, count), late_views(online)
        stale = [[view for view, status in late if status[i] in LATE] for i in range(count)] if late else [[]] * count
        labels, version = list(map(self.model.label, scores)), self.model.version
        places: list[int] = []
        ids: list[str] = []
        for call, first in turn.good:
            own = range(first, first + len(call))
            new = self._ids.next(len(own))
            answers = [
                {
                    "prediction_id": prediction_id,
                    **entity,
                    "class": labels[i],
                    "probability": scores[i],
                    "model_version": version,
                    "features_as_of": orjson.Fragment(as_of[i]),
                    "stale": stale[i],
                }
                for prediction_id, entity, i in zip(new, call.entities, own, strict=True)
            ]
            turn.give(first, answers)
            if self._shadow is not None and not call.what_if:
                self._shadow.offer(new, first, scores, columns, now, version, call.actor)
            places += own
            ids += new
        calls = [call for call, _ in turn.good for _ in call.entities]
        return Made(
            shared={**self._constant, "predicted_at": now, "served_at": self._machine.now()},
            own={
                "prediction_id": ids,
                "class": [labels[i] for i in places],
                "probability": [scores[i] for i in places],
                "stale": [stale[i] for i in places],
                "correlation_id": [call.request for call in calls],
                "actor": [call.actor for call in calls],
                "what_if": [call.what_if for call in calls],
            },
            entity=given,
            features={name: columns[name] for name in self._names},
            places=places,
            features_as_of=[as_of[i] for i in places],
        )
