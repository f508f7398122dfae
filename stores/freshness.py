"""When the newest fact became known that the online store has taken in of each view, and how old it may be.

The ledger says which feature files are in, and their Parquet footers how far they reach: rows are read of a file only
if some of its facts lie ahead of the moment that is asked for.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from redis.exceptions import RedisError

from core.redis import parse_address
from core.windows import as_utc
from stores import ledger, sources, sql
from stores.connection import connect, online_config, unavailable
from stores.plan import Promise
from stores.registry import feature_views
from stores.sources import file_source, parquet_files

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView
    from redis import Redis


@dataclass(frozen=True)
class ViewFreshness:
    """How fresh one view is online.

    Attributes
    ----------
    view : str
        Its name.
    newest : datetime or None
        When the newest fact that is online became known, UTC; None where there is none.
    promise : timedelta or None
        Largest age that counts as fresh; None: it never gets stale.
    """

    view: str
    newest: datetime | None
    promise: timedelta | None

    def age(self, now: datetime) -> timedelta | None:
        """Return how old the newest fact is; None where there is none."""
        return None if self.newest is None else now - self.newest

    def fresh(self, now: datetime) -> bool:
        """Whether the view keeps its promise."""
        age = self.age(now)
        return age is not None and (self.promise is None or age <= self.promise)


def online_freshness(store: FeatureStore, now: datetime) -> list[ViewFreshness]:
    """Return the freshness of each online view.

    What is online is what our own writer has taken in.

    Parameters
    ----------
    store : FeatureStore
        Whose views.
    now : datetime
        Timezone-aware; facts that became known later do not count.

    Raises
    ------
    StoreUnavailable
        When Redis does not answer.
    """
    try:
        with closing(connect(store.config)) as client:
            return [
                ViewFreshness(view.name, _newest(store, client, view, now), Promise.of(view).age)
                for view in feature_views(store)
                if view.online
            ]
    except (RedisError, OSError) as error:
        raise unavailable(parse_address(online_config(store.config).connection_string), error) from error


def _newest(store: FeatureStore, client: Redis, view: FeatureView, now: datetime) -> datetime | None:
    folder = store.config.repo_path or store.repo_path
    source = file_source(view.batch_source, view.name)
    original = {mapped: name for name, mapped in (source.field_mapping or {}).items()}
    column = original.get(source.timestamp_field, source.timestamp_field)
    taken = ledger.read(client, store.config, view)
    paths = [Path(path) for path in parquet_files(source, folder) if os.path.relpath(path, folder) in taken]
    found = [_known(path, column, now) for path in paths]
    return max((moment for moment in found if moment is not None), default=None)


def _known(path: Path, column: str, now: datetime) -> datetime | None:
    """Return the latest moment of a column that is not after ``now``; None where there is none."""
    reach = _reach(path, path.stat().st_mtime_ns, column)
    if reach is None or reach <= now:
        return reach
    with sql.connect() as con:
        rows = f"read_parquet({sql.text(path)})"
        [kind] = [str(row[1]) for row in con.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall() if row[0] == column]
        when = sources.as_utc(column, kind)
        [(newest,)] = con.sql(f"SELECT max({when}) FROM {rows} WHERE {when} <= {sql.moment(now)}").fetchall()
    return newest


@lru_cache(maxsize=10_000)
def _reach(path: Path, changed: int, column: str) -> datetime | None:
    """Return the latest moment of a column by the file's footer; None where it is empty or the footer does not say."""
    footer = pq.read_metadata(path)
    if column not in footer.schema.names:
        return None
    place = footer.schema.names.index(column)
    found = [footer.row_group(i).column(place).statistics for i in range(footer.num_row_groups)]
    return max((as_utc(s.max) for s in found if s is not None and s.has_min_max), default=None)
