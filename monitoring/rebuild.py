"""Rebuilds logged vectors offline, as of just before the moment of each prediction.

Just before, since the replay clock stands at the end of a window, which is not part of it: what became known at that
very moment arrives with the next one.

Three things are meant to differ, and are counted as explained: what a view's policy ``stale: missing`` withheld; what
had become known, and was not materialized yet (:mod:`monitoring.behind`); and keys and inputs that could have been
looked up and that the client sent itself. What hangs on those is rebuilt from what was sent.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from core.windows import as_utc
from monitoring.behind import NOT_MATERIALIZED, Behind, event_times
from monitoring.comparison import SkewReport, compare, is_missing
from serving.resolve import needs
from stores.entities import EVENT_TIMESTAMP
from stores.plan import Promise
from stores.registry import open_store
from stores.value_types import ValueType, arrow_type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.repo import FeatureRepo
    from monitoring.behind import Moments
    from monitoring.comparison import Explain

WITHHELD = "older than promised, and withheld"
SENT = "sent by the client"
COLUMNS = ("prediction_id", "predicted_at", "entity", "features", "features_as_of", "stale", "schema_hash")
_TIME = pa.timestamp("us", tz="UTC")
_INSTANT = timedelta(microseconds=1)
Row = dict[str, Any]


class Rebuilder:
    """Compares logged vectors with what history says.

    Parameters
    ----------
    repo : FeatureRepo
        Whose feature rows and definitions to rebuild from.
    """

    def __init__(self, repo: FeatureRepo) -> None:
        self._store = open_store(repo)
        self._needs = needs(repo, self._store)
        self.service = self._needs.service.name
        computed = {view.name for view in self._needs.on_demand}
        self._views = {
            projection.name_to_use(): self._store.get_feature_view(projection.name).with_projection(projection)
            for projection in self._needs.reading.feature_view_projections
            if projection.name not in computed
        }
        self._withholding = frozenset(n for n, view in self._views.items() if Promise.of(view).policy == "missing")
        self._behind = Behind(repo.layout)
        self._computed_from = {
            feature.name: frozenset(source.name_to_use() for source in view.source_feature_view_projections.values())
            for view in self._needs.on_demand
            for feature in view.features
        }
        self._sources = self._computed_from | {
            feature.name: frozenset({projection.name_to_use()})
            for projection in self._needs.service.feature_view_projections
            if projection.name not in computed
            for feature in projection.features
        }

    def compare(self, logged: pa.Table) -> SkewReport:
        """Compare some predictions of this feature service.

        Parameters
        ----------
        logged : pyarrow.Table
            :data:`COLUMNS` of the prediction log.
        """
        report = SkewReport()
        rows = logged.to_pylist()
        entities = [orjson.loads(row.pop("entity")) for row in rows]
        moments = [row["predicted_at"] - _INSTANT for row in rows]
        asked = _asked(self._needs.types, entities, moments)
        offline = self._history(asked, self._needs.service)
        # Once for each view, and only where a value differs, which hardly any does.
        known = cache(lambda view: event_times(self._store, self._views[view], asked))
        # Models of several versions may take turns, and each sees features of its own.
        for schema in dict.fromkeys(row["schema_hash"] for row in rows):
            chosen = [i for i, row in enumerate(rows) if row["schema_hash"] == schema]
            report.add(self._vectors([rows[i] for i in chosen], offline.take(chosen), chosen, known))
        report.add(self._looked_up(rows, entities, moments))
        return report

    def _vectors(
        self, rows: Sequence[Row], offline: pa.Table, places: Sequence[int], known: Callable[[str], Moments]
    ) -> SkewReport:
        """Compare vectors of the same features; ``places`` are those of the rows in what ``known`` gives."""
        vectors = [orjson.loads(row.pop("features")) for row in rows]
        asked = [n for n in vectors[0] if n not in self._needs.types]
        names = [n for n in asked if n in offline.column_names]
        online = {name: [vector.get(name) for vector in vectors] for name in names}
        withheld = [self._withholding.intersection(row["stale"]) for row in rows]

        def explain(row: int, feature: str, value: Any) -> str | None:
            views = self._sources.get(feature, frozenset())
            # What is computed without its inputs may have come out as anything.
            if views & withheld[row] and (feature in self._computed_from or is_missing(value)):
                return WITHHELD
            as_of, at = orjson.loads(rows[row]["features_as_of"]), rows[row]["predicted_at"]
            late = [
                v for v in sorted(views & as_of.keys()) if self._behind(_moment(as_of[v]), known(v)[places[row]], at)
            ]
            return f"{NOT_MATERIALIZED} ({', '.join(late)})" if late else None

        report = compare(_labels(rows), online, _columns(offline, names), names, explain)
        report.left_out.update({f"{name}: history does not have it": len(rows) for name in asked if name not in online})
        return report

    def _looked_up(self, rows: Sequence[Row], entities: Sequence[Row], moments: Sequence[datetime]) -> SkewReport:
        """Compare what came with the entities with what the store would have given for them."""
        names = list(self._needs.lookups)
        if not names:
            return SkewReport()
        keys = {name: self._needs.types[name] for name in self._needs.entity_keys}
        offline = self._history(_asked(keys, entities, moments), list(self._needs.lookups.values()))
        online = {name: _typed([e.get(name) for e in entities], self._needs.types[name]) for name in names}
        explain: Explain = lambda _row, _feature, value: None if is_missing(value) else SENT  # noqa: E731
        report = compare(_labels(rows), online, _columns(offline, names), names, explain)
        report.rows = 0  # they are counted already
        return report

    def _history(self, asked: pa.Table, features: Any) -> pa.Table:
        frame = asked.to_pandas(integer_object_nulls=True)
        return self._store.get_historical_features(entity_df=frame, features=features).to_arrow()


def _asked(types: Any, entities: Sequence[Row], moments: Sequence[datetime]) -> pa.Table:
    """Return the entity rows to ask history for."""
    columns = {
        name: pa.array(_typed([entity.get(name) for entity in entities], kind), _arrow(kind))
        for name, kind in types.items()
    }
    return pa.table({**columns, EVENT_TIMESTAMP: pa.array(moments, _TIME)})


def _labels(rows: Sequence[Row]) -> list[str]:
    return [f"prediction {row['prediction_id']}" for row in rows]


def _columns(table: pa.Table, names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: table.column(name).to_pylist() for name in names}


def _typed(values: list[Any], kind: ValueType) -> list[Any]:
    """Return what JSON made text of as moments again."""
    if kind is not ValueType.UNIX_TIMESTAMP:
        return values
    return [None if value is None else as_utc(datetime.fromisoformat(value)) for value in values]


def _moment(logged: str | None) -> datetime | None:
    return None if logged is None else as_utc(datetime.fromisoformat(logged))


def _arrow(kind: ValueType) -> pa.DataType:
    return _TIME if kind is ValueType.UNIX_TIMESTAMP else arrow_type(kind)
