"""Is what is served what was trained on? Online values against the point-in-time values of the same moment.

Two comparisons, both value by value:

- *sampled*: entities drawn from the feature rows; what the online store holds now against the offline store as of now.
- *logged*: vectors in the prediction log, as the model saw them, rebuilt offline as of the moment of the prediction.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.progress import progress
from stores.examples import sample_keys
from stores.reader import OnlineReader, Status
from stores.registry import feature_service, feature_views, open_store, request_inputs
from stores.sql import connect, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from feast import FeatureStore, FeatureView

    from core.repo import FeatureRepo


@dataclass(frozen=True)
class Difference:
    """One value that is not the same online and offline."""

    where: str
    feature: str
    online: Any
    offline: Any

    def __str__(self) -> str:
        return f"{self.where}: {self.feature} is {self.online!r} online, {self.offline!r} offline"


@dataclass
class SkewReport:
    """What a comparison found.

    Attributes
    ----------
    rows, values : int
        How many rows and single values were compared.
    differences : list of Difference
        Every value that differs.
    """

    rows: int = 0
    values: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, other: SkewReport) -> None:
        """Take in the findings of another comparison."""
        self.rows += other.rows
        self.values += other.values
        self.differences += other.differences


def same(left: Any, right: Any) -> bool:
    """Whether two feature values are equal; missing equals missing, NaN counts as missing."""
    if _missing(left) or _missing(right):
        return _missing(left) and _missing(right)
    if isinstance(left, float) or isinstance(right, float):
        # Feast's Float32 and Float64 pass through different widths: one part in 10^6 is the same value.
        return math.isclose(float(left), float(right), rel_tol=1e-6, abs_tol=1e-9)
    return bool(left == right)


def compare(
    labels: Iterable[str],
    online: Mapping[str, Sequence[Any]],
    offline: Mapping[str, Sequence[Any]],
    features: Sequence[str],
) -> SkewReport:
    """Compare two sets of columns row by row.

    Parameters
    ----------
    labels : iterable of str
        What to call each row in the report, ``n`` of them.
    online, offline : mapping of str to sequence
        Columns of ``n`` values each.
    features : sequence of str
        The columns to compare.
    """
    report = SkewReport()
    for i, label in enumerate(labels):
        report.rows += 1
        for name in features:
            report.values += 1
            if not same(online[name][i], offline[name][i]):
                report.differences.append(Difference(label, name, online[name][i], offline[name][i]))
    return report


def check_sampled(repo: FeatureRepo, count: int) -> SkewReport:
    """Compare up to ``count`` entities of every feature view, online against offline as of now.

    The entities that changed last are taken: what a lagging materialization would get wrong first.

    Raises
    ------
    StoreUnavailable
        When the online store does not answer.
    """
    store = open_store(repo)
    now = repo.clock.now()
    report = SkewReport()
    views = [view for view in feature_views(store) if view.online]
    with progress("Comparing online and offline", total=len(views)) as advance:
        for view in views:
            keys = sample_keys(repo, store, view, count)
            if keys:
                report.add(_compare_view(store, view, keys, now))
            advance(note=view.name)
    return report


def _compare_view(store: FeatureStore, view: FeatureView, keys: list[dict[str, Any]], now: datetime) -> SkewReport:
    taken = set(keys[0])
    names = [f.name for f in view.features if f.name not in taken]
    refs = [f"{view.name}:{name}" for name in names]
    reader = OnlineReader(store, refs)
    try:
        online = reader.read_sync(keys, now)
    finally:
        reader.close()
    frame = pd.DataFrame(keys).assign(event_timestamp=now)
    offline = store.get_historical_features(entity_df=frame, features=refs).to_arrow()
    labels = [f"{view.name} {key}" for key in keys]
    # What a policy hides on purpose is no skew: rows that are stale and treated as missing are left out.
    shown = [i for i, status in enumerate(online.views[view.name].status) if status is not Status.EXPIRED]
    return compare(
        [labels[i] for i in shown],
        {n: [online.columns[n][i] for i in shown] for n in names},
        {n: [offline.column(n)[i].as_py() for i in shown] for n in names},
        names,
    )


def check_logged(repo: FeatureRepo, count: int) -> SkewReport:
    """Rebuild the newest ``count`` logged vectors offline, as of the moment of each prediction, and compare.

    Late rows that arrived after a prediction are invisible to it offline as well: their created timestamp is later.
    """
    parts = sorted(repo.layout.predictions.glob("*/[!.]*.parquet"), reverse=True)
    if not parts:
        return SkewReport()
    store = open_store(repo)
    service = feature_service(repo, store)
    with connect() as con:
        files = ", ".join(text(part) for part in parts[:200])
        logged = con.execute(
            f"SELECT prediction_id, predicted_at, entity, features FROM read_parquet([{files}]) "
            f"WHERE feature_service = {text(service.name)} ORDER BY prediction_id DESC LIMIT {int(count)}"
        ).fetchall()
    if not logged:
        return SkewReport()
    entities = [json.loads(row[2]) for row in logged]
    online = [json.loads(row[3]) for row in logged]
    frame = pd.DataFrame(entities).assign(event_timestamp=[row[1] for row in logged])
    for name, kind in request_inputs(store, service).items():
        if kind == "UNIX_TIMESTAMP" and name in frame:
            frame[name] = pd.to_datetime(frame[name], utc=True)
    offline = store.get_historical_features(entity_df=frame, features=service).to_arrow()
    names = [name for name in online[0] if name in offline.column_names and name not in frame.columns]
    return compare(
        [f"prediction {row[0]}" for row in logged],
        {n: [vector.get(n) for vector in online] for n in names},
        {n: offline.column(n).to_pylist() for n in names},
        names,
    )


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
