"""Connections to the online store, from the same Feast connection string that any Feast client reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast.infra.online_stores.redis import RedisOnlineStoreConfig, RedisType
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from core.errors import ConfigError, StoreUnavailable
from core.redis import DEFAULTS, Address, parse_address

if TYPE_CHECKING:
    from feast import RepoConfig


def online_config(config: RepoConfig) -> RedisOnlineStoreConfig:
    """Return the online store's part of ``feature_store.yaml``.

    Raises
    ------
    ConfigError
        When the online store is not a Redis whose keys one server holds.
    """
    online = config.online_store
    if not isinstance(online, RedisOnlineStoreConfig):
        raise ConfigError(
            f"The online store of project {config.project!r} is {getattr(online, 'type', None)!r}, not Redis.",
            hint="Set online_store.type to stores.online.BulkRedisOnlineStore (or redis) in feature_store.yaml.",
        )
    if online.redis_type == RedisType.redis_cluster:
        raise ConfigError(
            "redis_type redis_cluster is not supported: rows are compared and written by one script a chunk.",
            hint="Use redis or redis_sentinel.",
        )
    return online


def connect(config: RepoConfig) -> Redis:
    """Return a blocking client; it connects on first use."""
    online = online_config(config)
    address = parse_address(online.connection_string)
    # One more try covers a pooled connection that a restarted server has dropped.
    options = {**DEFAULTS, "retry": Retry(NoBackoff(), 1), **address.options}
    if online.redis_type == RedisType.redis_sentinel:
        return Sentinel(list(address.nodes), **options).master_for(online.sentinel_master)
    return Redis(host=address.host, port=address.port, **options)


def unavailable(address: Address, error: BaseException) -> StoreUnavailable:
    """Return the error for a Redis that does not answer, or answers with an error."""
    reason = str(error) or type(error).__name__
    return StoreUnavailable(
        f"The online store at {address} does not answer: {reason}.",
        hint="Start it, or set PUNCTUAL_REDIS (online_store.connection_string in feature_store.yaml).",
    )
