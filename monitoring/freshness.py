"""How old the online features are against their promise, and how often a model had to do without one."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from core.redis import parse_address
from monitoring.logged import within
from monitoring.parts import parts, relation
from stores import ledger
from stores.connection import connect as connect_redis
from stores.connection import online_config, unavailable
from stores.plan import Promise
from stores.registry import feature_views, open_store
from stores.sources import as_utc, file_source
from stores.sql import connect, moment, text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from feast import FeatureView

    from core.repo import FeatureRepo


def freshness(repo: FeatureRepo, now: datetime | None = None) -> list[dict[str, Any]]:
    """Return the age of every online feature view against its promise.

    Parameters
    ----------
    repo : FeatureRepo
        Whose views.
    now : datetime, optional
        Timezone-aware, on the problem's clock; default: now.

    Returns
    -------
    list of dict
        ``view``; ``age_seconds``: how long ago the newest fact that is online became known, None where nothing is;
        ``promise_seconds``: the view's tag ``freshness``, else its ttl, None where it never gets stale; ``fresh``.
        What is online is what ``punctual materialize`` has taken in.

    Raises
    ------
    StoreUnavailable
        When the online store does not answer.
    """
    now = now or repo.clock.now()
    store = open_store(repo)
    views = [view for view in feature_views(store) if view.online]
    try:
        with closing(connect_redis(store.config)) as client:
            taken = [ledger.read(client, store.config, view) for view in views]
    except (RedisError, OSError) as error:
        raise unavailable(parse_address(online_config(store.config).connection_string), error) from error
    out = []
    for view, names in zip(views, taken, strict=True):
        newest = _newest(view, [repo.layout.repo / name for name in sorted(names)], now)
        promise = Promise.of(view).age
        age = None if newest is None else now - newest
        out.append(
            {
                "view": view.name,
                "age_seconds": None if age is None else age.total_seconds(),
                "promise_seconds": None if promise is None else promise.total_seconds(),
                "fresh": age is not None and (promise is None or age <= promise),
            }
        )
    return out


def missing_rates(repo: FeatureRepo, since: datetime, until: datetime) -> dict[str, float]:
    """Return for each feature in which share of the predictions of ``[since, until)`` the model had no value.

    A feature counts where the model of a prediction asks for it; an empty dict means that nothing was predicted.
    """
    chosen = parts(repo.layout, since, until)
    if not chosen:
        return {}
    rows = f"{relation(repo.layout, chosen)} WHERE {within(since, until)}"
    missing: dict[str, int] = {}
    asked: dict[str, int] = {}
    with connect() as con:
        # All vectors of one schema have the same names, so one of them tells.
        schemas = con.sql(
            f"SELECT schema_hash, json_keys(any_value(features)), count(*) FROM {rows} GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        for schema, names, count in schemas:
            if not names:
                continue
            shape = json.dumps(dict.fromkeys(names, "VARCHAR"))
            [filled] = con.sql(
                f"SELECT count(COLUMNS(*)) FROM (SELECT unnest(json_transform(features, {text(shape)})) "
                f"FROM {rows} AND schema_hash = {text(schema)})"
            ).fetchall()
            for name, there in zip(names, filled, strict=True):
                asked[name] = asked.get(name, 0) + count
                missing[name] = missing.get(name, 0) + count - there
    return {name: missing[name] / asked[name] for name in asked}


def _newest(view: FeatureView, files: Sequence[Path], now: datetime) -> datetime | None:
    """Return the newest event time up to now in some feature files."""
    paths = [file for file in files if file.is_file()]  # a rebuild may be taking some away
    if not paths:
        return None
    source = file_source(view.batch_source, view.name)
    original = {mapped: name for name, mapped in (source.field_mapping or {}).items()}
    stamp = original.get(source.timestamp_field, source.timestamp_field)
    with connect() as con:
        reader = f"read_parquet([{', '.join(map(text, paths))}], union_by_name = true)"
        kinds = {str(row[0]): str(row[1]) for row in con.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()}
        when = as_utc(stamp, kinds[stamp])
        [(newest,)] = con.sql(f"SELECT max({when}) FROM {reader} WHERE {when} <= {moment(now)}").fetchall()
    return newest
