"""Is what is served what was trained on? Online values against the point-in-time values of the same moment.

Two comparisons, both value by value:

- *sampled*: entities drawn from the feature rows; what the online store holds now against the offline store as of now.
- *logged*: vectors in the prediction log, as the model saw them, rebuilt offline as of the moment of the prediction.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from core.progress import progress
from monitoring.behind import NOT_MATERIALIZED, event_times
from monitoring.comparison import SkewReport, compare
from monitoring.logged import within
from monitoring.parts import counting, relation
from monitoring.rebuild import COLUMNS, Rebuilder
from stores.entities import EVENT_TIMESTAMP
from stores.examples import sample_keys
from stores.freshness import online_freshness
from stores.reader import OnlineReader
from stores.registry import feature_views, open_store
from stores.rows import Status
from stores.sql import connect, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from feast import FeatureStore, FeatureView

    from core.repo import FeatureRepo

_TOGETHER = 40_000  # vectors that are rebuilt at once
_NEWEST_PARTS = 200  # of the log, that the newest predictions are looked for in


def check_sampled(repo: FeatureRepo, count: int) -> SkewReport:
    """Compare up to ``count`` entities of every feature view, online against offline as of now.

    The entities that changed last are taken: what a lagging materialization would get wrong first. What differs because
    a row is newer than all that were materialized is ``explained``.

    Raises
    ------
    StoreUnavailable
        When the online store does not answer.
    """
    store = open_store(repo)
    now = repo.clock.now()
    report = SkewReport()
    views = [view for view in feature_views(store) if view.online]
    newest = {found.view: found.newest for found in online_freshness(store, now)}
    with progress("Comparing online and offline", total=len(views)) as advance:
        for view in views:
            keys = sample_keys(repo, store, view, count)
            if keys:
                report.add(_compare_view(store, view, keys, now, newest[view.name]))
            advance(note=view.name)
    return report


def _compare_view(
    store: FeatureStore, view: FeatureView, keys: list[dict[str, Any]], now: datetime, newest: datetime | None
) -> SkewReport:
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
    asked = pa.Table.from_pylist(keys)
    asked = asked.append_column(EVENT_TIMESTAMP, pa.array([now] * len(keys), pa.timestamp("us", tz="UTC")))
    known = cache(lambda: event_times(store, view, asked))  # only where a value differs, which hardly any does

    def explain(row: int, _feature: str, _value: Any) -> str | None:
        moment = known()[shown[row]]
        late = newest is not None and moment is not None and moment > newest
        return f"{NOT_MATERIALIZED} ({view.name})" if late else None

    return compare(
        [labels[i] for i in shown],
        {n: [online.columns[n][i] for i in shown] for n in names},
        {n: [offline.column(n)[i].as_py() for i in shown] for n in names},
        names,
        explain,
    )


def check_logged(
    repo: FeatureRepo, count: int | None = None, *, since: datetime | None = None, until: datetime | None = None
) -> SkewReport:
    """Rebuild logged vectors offline, as of the moment of each prediction, and compare.

    Late rows that arrived after a prediction are invisible to it offline as well: their created timestamp is later.
    What-ifs are left out: nothing offline knows what was tried out.

    Parameters
    ----------
    repo : FeatureRepo
        Whose prediction log and feature rows.
    count : int, optional
        Only the newest so many; default: every one, in batches.
    since, until : datetime, optional
        Only those made in ``[since, until)`` on the problem's clock, timezone-aware.

    Returns
    -------
    SkewReport
        Predictions of the feature service that problem.yaml names; what a policy or the client wanted otherwise, or was
        not materialized yet, is ``explained`` (:mod:`monitoring.rebuild`). Predictions of other services, and features
        that history does not have, are ``left_out``.
    """
    report = SkewReport()
    chosen = counting(repo.layout, since, until)
    if count is not None:
        chosen = chosen[-_NEWEST_PARTS:]
    if not chosen:
        return report
    rebuilder = Rebuilder(repo)
    total = sum(part.counted for part in chosen)
    with (
        progress("Rebuilding logged vectors", total=total if count is None else min(count, total)) as advance,
        connect() as con,
    ):
        source, own = f"{relation(repo.layout, chosen)} WHERE {within(since, until)}", text(rebuilder.service)
        others = con.sql(
            f"SELECT feature_service, count(*) FROM {source} AND feature_service <> {own} GROUP BY 1"
        ).fetchall()
        report.left_out.update({f"all of the feature service {name}": count for name, count in others})
        rows = f"SELECT {', '.join(COLUMNS)} FROM {source} AND feature_service = {own}"
        if count is not None:
            rows += f" ORDER BY prediction_id DESC LIMIT {int(count)}"
        for some in _together(con.sql(rows).to_arrow_reader(_TOGETHER)):
            report.add(rebuilder.compare(some))
            advance(some.num_rows)
    return report


def _together(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Give tables of at least ``_TOGETHER`` rows, but for the last: the reader ends a batch with each file.

    A log has a file a second, and rebuilding a few rows takes nearly as long as rebuilding thousands.
    """
    waiting: list[pa.RecordBatch] = []
    for batch in reader:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _TOGETHER:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)
