"""Which rows of a feature view history gives, and whether one that was served is older only because of the way it goes.

A fact becomes known, its window is fetched and transformed, and last of all it is materialized. Offline it counts from
the moment at which it became known; online it is there at the end of that way.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from core.windows import as_utc, list_windows
from stores import sources
from stores.asof import FeatureTable, asof_join
from stores.entities import EVENT_TIMESTAMP, join_keys
from stores.sources import file_source, relation
from stores.sql import connect

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import FeatureStore, FeatureView

    from core.layout import Layout

NOT_MATERIALIZED = "not materialized yet"
Moments = list[datetime | None]


def event_times(store: FeatureStore, view: FeatureView, rows: pa.Table) -> Moments:
    """Return the event time of the row of a view that history gives for each entity row; None where it gives none.

    Parameters
    ----------
    store : FeatureStore
        Whose feature rows, and whether it heeds when they were created.
    view : FeatureView
        With the projection under which it is asked for.
    rows : pyarrow.Table, n rows
        Join keys, and the moment of each row (``event_timestamp``, UTC).
    """
    source = file_source(view.batch_source, view.name)
    created = source.created_timestamp_column or None
    with connect() as con:
        sql, types = relation(con, source, store.config.repo_path or store.repo_path)
        if sql is None or rows.num_rows == 0:
            return [None] * rows.num_rows
        table = FeatureTable(
            sql=sql,
            keys=join_keys(view),
            features={source.timestamp_field: "became_known"},
            timestamp=sources.as_utc(source.timestamp_field, types[source.timestamp_field]),
            created=sources.as_utc(created, types[created]) if created else None,
            ttl=view.ttl or None,
        )
        honour = bool(getattr(store.config.offline_store, "honour_created_timestamp", True))
        found = asof_join(con, rows, EVENT_TIMESTAMP, table, honour_created=honour).column("became_known").to_pylist()
    return [None if moment is None else as_utc(moment) for moment in found]


class Behind:
    """Says of logged rows whether a view's row was older than the one history gives: it was still on its way.

    Where nothing was online, that explains only a row of the newest window at that time, or of a later one: what became
    known before should have been there.

    Parameters
    ----------
    layout : Layout
        Whose windows say how far data was fetched.
    """

    def __init__(self, layout: Layout) -> None:
        self._windows = list_windows(layout.raw)

    def __call__(self, served: datetime | None, known: datetime | None, at: datetime) -> bool:
        """Say whether a row was still on its way.

        Parameters
        ----------
        served, known : datetime, optional
            Event time of the row that was served, and of the one that history gives.
        at : datetime
            When it was served, on the problem's clock.
        """
        if known is None:
            return False
        if served is not None:
            return served < known
        newest = max((window.since for window in self._windows if window.until <= at), default=None)
        return newest is not None and known >= newest
