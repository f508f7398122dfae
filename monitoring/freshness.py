"""How old the online features are against their promise, and how often a model had to do without one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from monitoring.logged import within
from monitoring.parts import counting, relation
from stores.freshness import online_freshness
from stores.registry import open_store
from stores.sql import connect, text

if TYPE_CHECKING:
    from datetime import datetime, timedelta

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
    return [
        {
            "view": found.view,
            "age_seconds": _seconds(found.age(now)),
            "promise_seconds": _seconds(found.promise),
            "fresh": found.fresh(now),
        }
        for found in online_freshness(open_store(repo), now)
    ]


def missing_rates(repo: FeatureRepo, since: datetime, until: datetime) -> dict[str, float]:
    """Return for each feature in which share of the predictions of ``[since, until)`` the model had no value.

    A feature counts where the model of a prediction asks for it; a what-if does not count. An empty dict means that
    nothing was predicted.
    """
    chosen = counting(repo.layout, since, until)
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


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()
