"""What the online store has taken in: one Redis hash a view, feature file -> fingerprint of its content.

It lives in the online store itself. A flushed or replaced Redis knows nothing and is filled anew; ``feast apply``
cannot reset it; and what arrives late is seen by its arrival, however old its event time is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from feast.infra.online_stores.helpers import compute_versioned_name

from core.files import digest_of

if TYPE_CHECKING:
    from feast import FeatureView, RepoConfig
    from redis import Redis


def stored_name(config: RepoConfig, view: FeatureView) -> str:
    """Return the name under which the online store keeps the view (with its version, if that is switched on)."""
    return str(compute_versioned_name(view, config.registry.enable_online_feature_view_versioning))


def _key(config: RepoConfig, view: FeatureView) -> str:
    return f"punctual:ledger:{config.project}:{stored_name(config, view)}"


def shape(view: FeatureView) -> str:
    """Return a hash of what the stored bytes depend on besides the data: join keys, features, types, columns."""
    source = view.batch_source
    columns = [f"{f.name}:{f.dtype}" for f in (*view.entity_columns, *view.features)]
    return digest_of(
        *sorted(columns), source.timestamp_field, source.created_timestamp_column or "", repr(source.field_mapping)
    )


def read(client: Redis, config: RepoConfig, view: FeatureView) -> dict[str, str]:
    """Return file name -> fingerprint of what was taken in whole."""
    return {name.decode(): value.decode() for name, value in client.hgetall(_key(config, view)).items()}


def enter(client: Redis, config: RepoConfig, view: FeatureView, files: dict[str, str]) -> None:
    """Note that these files are in, whole."""
    if files:
        client.hset(_key(config, view), mapping=files)


def strike(client: Redis, config: RepoConfig, view: FeatureView, files: Iterable[str]) -> None:
    """Take files out of the ledger."""
    if names := list(files):
        client.hdel(_key(config, view), *names)


def forget(client: Redis, config: RepoConfig, views: Iterable[FeatureView]) -> None:
    """Forget whole views, so that the next materialization fills them from the start."""
    if keys := [_key(config, view) for view in views]:
        client.delete(*keys)
