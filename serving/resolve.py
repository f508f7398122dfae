"""What a prediction needs beyond the id, and where it comes from: worked out once from the registry.

A feature service needs join keys and request-time inputs. What the client does not send is read from the feature view
that is keyed by the problem's entity and carries a feature of exactly that name: one lookup before the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError
from stores.entities import DUMMY_KEY
from stores.registry import feature_service
from stores.value_types import ValueType

if TYPE_CHECKING:
    from feast import FeatureService, FeatureStore

    from core.repo import FeatureRepo


@dataclass(frozen=True)
class Needs:
    """What one prediction needs.

    Attributes
    ----------
    service : FeatureService
        What the model is served with.
    reading : FeatureService
        What is read for it: the service, and the stored features that its on-demand views compute from.
    entity_keys : tuple of str
        The join keys of the problem's entity: what every request must send.
    types : mapping of str to ValueType
        Every field a client may send, with its type: join keys and request-time inputs.
    lookups : mapping of str to str
        Field -> ``<view>:<feature>`` that gives it where the client does not.
    on_demand : tuple
        The on-demand feature views of the service.
    """

    service: FeatureService
    reading: FeatureService
    entity_keys: tuple[str, ...]
    types: Mapping[str, ValueType]
    lookups: Mapping[str, str]
    on_demand: tuple[Any, ...]


def needs(repo: FeatureRepo, store: FeatureStore) -> Needs:
    """Work out what the problem's feature service needs.

    Raises
    ------
    ConfigError
        When the entity or the service is not registered.
    """
    service = feature_service(repo, store)
    entity = next((e for e in store.list_entities() if e.name == repo.problem.entity), None)
    if entity is None:
        raise ConfigError(
            f"The entity {repo.problem.entity!r} of problem.yaml is not registered.", hint="Run: punctual apply"
        )
    odfvs = {view.name: view for view in store.list_on_demand_feature_views()}
    on_demand = tuple(odfvs[p.name] for p in service.feature_view_projections if p.name in odfvs)
    reading = _with_sources(service, on_demand)
    types: dict[str, ValueType] = {entity.join_key: _type_of(entity, store)}
    for projection in reading.feature_view_projections:
        if projection.name in odfvs:
            continue
        view = store.get_feature_view(projection.name)
        for column in view.entity_columns:
            if column.name != DUMMY_KEY:
                types[projection.join_key_map.get(column.name, column.name)] = column.dtype.to_value_type()
    for view in on_demand:
        types.update(view.get_request_data_schema())
    carried = _carried(store, {entity.join_key})
    for name in repo.problem.key_features:
        if name in carried:
            types.setdefault(name, carried[name][1])
    lookups = {name: carried[name][0] for name in types if name in carried and name != entity.join_key}
    return Needs(service, reading, (entity.join_key,), types, lookups, on_demand)


def _type_of(entity: Any, store: FeatureStore) -> ValueType:
    """Return the type of an entity's join key; one that declares none has that of the views that are keyed by it."""
    if entity.value_type is not ValueType.UNKNOWN:
        return entity.value_type
    columns = (column for view in store.list_feature_views() for column in view.entity_columns)
    found = (column.dtype.to_value_type() for column in columns if column.name == entity.join_key)
    return next(found, ValueType.UNKNOWN)


def _with_sources(service: FeatureService, on_demand: Sequence[Any]) -> FeatureService:
    """Return the service with the stored features that its on-demand views compute from, given or not."""
    projections = {p.name_to_use(): copy(p) for p in service.feature_view_projections}
    for view in on_demand:
        for source in view.source_feature_view_projections.values():
            given = projections.setdefault(source.name_to_use(), copy(source))
            there = {feature.name for feature in given.features}
            given.features = [*given.features, *(f for f in source.features if f.name not in there)]
    out = copy(service)
    out.feature_view_projections = list(projections.values())
    return out


def _carried(store: FeatureStore, known: set[str]) -> dict[str, tuple[str, ValueType]]:
    """Return feature name -> (reference, type) of every online view that is keyed by nothing but ``known``."""
    out: dict[str, tuple[str, ValueType]] = {}
    for view in sorted(store.list_feature_views(), key=lambda v: v.name):
        if view.online and {c.name for c in view.entity_columns} == known:
            for feature in view.features:
                out.setdefault(feature.name, (f"{view.name}:{feature.name}", feature.dtype.to_value_type()))
    return out
