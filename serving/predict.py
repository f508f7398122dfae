"""From entities to predictions: look up what was not sent, read the features, score, and log what the model saw."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.clock import SystemClock
from core.errors import InvalidRequest, ModelUnavailable, StoreUnavailable, UnknownEntity
from core.logs import correlation_id
from serving import on_demand
from serving.log import PredictionIds, PredictionLog
from serving.request import Entity, offending
from stores.reader import OnlineReader, OnlineRows, Status

if TYPE_CHECKING:
    from feast import FeatureStore

    from core.clock import Clock
    from core.model import PredictionModel
    from serving.resolve import Needs

# Up to here a model call is shorter than handing it to a thread and back.
_INLINE_ROWS = 64
_NOTHING = (Status.NOT_FOUND, Status.FUTURE)


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
    """Predicts for one problem with one model.

    Parameters
    ----------
    store : FeatureStore
        Opened once; the plans are made from its registry.
    needs : Needs
        Keys and inputs, and where they come from.
    model : PredictionModel
        What to score with.
    clock : Clock
        What "now" is for features.
    log : PredictionLog
        Where every prediction goes.
    """

    def __init__(
        self, store: FeatureStore, needs: Needs, model: PredictionModel, clock: Clock, log: PredictionLog
    ) -> None:
        self._needs, self._model, self._clock, self._log = needs, model, clock, log
        self._features = OnlineReader(store, needs.reading)
        self._lookup = OnlineReader(store, list(needs.lookups.values())) if needs.lookups else None
        self._names = [f.name for f in model.features]
        self._ids = PredictionIds()
        self._machine = SystemClock()
        self._own_views = self._views_of_the_entity(store)

    @property
    def model(self) -> PredictionModel:
        """The model in use."""
        return self._model

    async def start(self) -> None:
        """Call everything once, so that the first request does not pay for it; an absent store is no reason to fail."""
        self._model.predict_proba({name: [None] for name in self._names})
        with suppress(StoreUnavailable):  # /health says so, and requests get a 503 until it is back
            await self.ping()

    async def ping(self) -> None:
        """Make sure that the online store answers.

        Raises
        ------
        StoreUnavailable
            When it does not.
        """
        await self._features.warm()
        if self._lookup:
            await self._lookup.warm()

    async def predict(self, entities: Sequence[Entity]) -> list[dict[str, Any]]:
        """Return one prediction an entity, in order, and hand them to the log.

        Raises
        ------
        UnknownEntity, InvalidRequest
            Naming every entity that is not known, or lacks an input.
        StaleFeatures, StoreUnavailable, Overloaded
            As the reader and the log say.
        """
        self._log.check_room(len(entities))
        now = self._clock.now()
        rows = [dict(entity) for entity in entities]
        known = await self._look_up(rows, now)
        online = await self._features.read(rows, now)
        self._check_known(rows, online, known)
        columns = self._columns(rows, online)
        inputs = {name: columns[name] for name in self._names}
        if len(rows) > _INLINE_ROWS:
            scores = await asyncio.to_thread(self._model.predict_proba, inputs)
        else:
            scores = self._model.predict_proba(inputs)
        return self._answer(entities, rows, online, inputs, scores.tolist(), now)

    async def _look_up(self, rows: list[Entity], now: datetime) -> set[int]:
        """Fill in what the entities stand for; a value that was sent stays. Return the positions found."""
        wanted = self._needs.types
        lacking = {i for i, row in enumerate(rows) if any(name not in row for name in self._needs.lookups)}
        unknown: dict[int, str] = {}
        if lacking and self._lookup is not None:
            # A row that lacks nothing is read without keys: positions stay those of the request.
            found = await self._lookup.read([row if i in lacking else {} for i, row in enumerate(rows)], now)
            for i in sorted(lacking):
                if all(view.status[i] in _NOTHING for view in found.views.values()):
                    unknown[i] = self._unknown(rows[i])
                    continue
                for name, reference in self._needs.lookups.items():
                    if name not in rows[i]:
                        rows[i][name] = found.columns[reference.partition(":")[2]][i]
        if unknown:
            raise offending(UnknownEntity, unknown)
        missing = {
            i: f"{', '.join(absent)} must be sent: no feature view of the entity carries it"
            for i, row in enumerate(rows)
            if (absent := [name for name in wanted if name not in row])
        }
        if missing:
            raise offending(InvalidRequest, missing)
        return lacking

    def _check_known(self, rows: list[Entity], online: OnlineRows, known: set[int]) -> None:
        """Refuse ids of which no view of the service knows anything, where no lookup has found them."""
        own = [online.views[name] for name in self._own_views]
        unknown = {
            i: self._unknown(row)
            for i, row in enumerate(rows)
            if own and i not in known and all(view.status[i] in _NOTHING for view in own)
        }
        if unknown:
            raise offending(UnknownEntity, unknown)

    def _unknown(self, row: Entity) -> str:
        keys = ", ".join(f"{name} {row[name]!r}" for name in self._needs.entity_keys)
        return f"the online store knows no {keys}"

    def _columns(self, rows: list[Entity], online: OnlineRows) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = dict(online.columns)
        for name in self._needs.types:
            columns[name] = [row[name] for row in rows]
        for view in self._needs.on_demand:
            columns |= on_demand.run(view, columns, len(rows))
        return columns

    def _answer(
        self,
        entities: Sequence[Entity],
        rows: Sequence[Entity],
        online: OnlineRows,
        inputs: Mapping[str, list[Any]],
        scores: list[float],
        now: datetime,
    ) -> list[dict[str, Any]]:
        served, request = self._machine.now(), correlation_id.get()
        views = {name: view.event_timestamps for name, view in online.views.items()}
        answers, records = [], []
        for i, (entity, score) in enumerate(zip(entities, scores, strict=True)):
            answer = {
                "prediction_id": self._ids.next(),
                **entity,
                "class": self._model.label(score),
                "probability": score,
                "model_version": self._model.version,
                "features_as_of": {
                    name: None if online.views[name].status[i] in _NOTHING else moments[i]
                    for name, moments in views.items()
                },
                "stale": online.stale(i),
            }
            answers.append(answer)
            records.append(
                {
                    **{k: answer[k] for k in ("prediction_id", "class", "probability", "features_as_of", "stale")},
                    "predicted_at": now,
                    "served_at": served,
                    "entity": rows[i],
                    "features": {name: inputs[name][i] for name in self._names},
                    "model_version": self._model.version,
                    "feature_service": self._needs.service.name,
                    "schema_hash": self._model.schema_hash,
                    "correlation_id": request,
                }
            )
        self._log.append(records)
        return answers

    def _views_of_the_entity(self, store: FeatureStore) -> list[str]:
        """Return the views of the service that are keyed by the problem's entity alone."""
        keys = set(self._needs.entity_keys)
        names = []
        for projection in self._needs.service.feature_view_projections:
            if projection.name_to_use() not in self._features.views:
                continue
            view = store.get_feature_view(projection.name)
            if {projection.join_key_map.get(c.name, c.name) for c in view.entity_columns} == keys:
                names.append(projection.name_to_use())
        return names

    def close(self) -> None:
        """Close the connections."""
        self._features.close()
        if self._lookup:
            self._lookup.close()
