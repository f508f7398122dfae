"""Entities to try things with: those of which something became known last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.entities import DUMMY_KEY
from stores.registry import feature_views, open_store, problem_entity
from stores.sources import as_utc, file_source, relation
from stores.sql import connect, moment, quote

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView

    from core.repo import FeatureRepo


def recent_entities(repo: FeatureRepo, count: int) -> list[dict[str, Any]]:
    """Return up to ``count`` keys of the problem's entity, the ones known last (by now) first."""
    store = open_store(repo)
    entity = problem_entity(repo, store)
    for view in feature_views(store):
        if [c.name for c in view.entity_columns] == [entity.join_key]:
            return sample_keys(repo, store, view, count)
    return []


def sample_keys(repo: FeatureRepo, store: FeatureStore, view: FeatureView, count: int) -> list[dict[str, Any]]:
    """Return up to ``count`` different keys of one view, the ones known last (by now) first."""
    source = file_source(view.batch_source, view.name)
    keys = [c.name for c in view.entity_columns if c.name != DUMMY_KEY]
    with connect() as con:
        sql, types = relation(con, source, repo.layout.repo)
        if sql is None or not keys:
            return []
        when = as_utc(source.timestamp_field, types[source.timestamp_field])
        picked = ", ".join(map(quote, keys))
        rows = con.sql(
            f"SELECT {picked} FROM ({sql}) WHERE {when} <= {moment(repo.clock.now())} "
            f"AND {' AND '.join(f'{quote(k)} IS NOT NULL' for k in keys)} "
            f"GROUP BY {picked} ORDER BY max({when}) DESC, {picked} LIMIT {int(count)}"
        ).to_arrow_table()
    return list(rows.to_pylist())
