"""Connections to the online store, from the same Feast connection string that any Feast client reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, RedisType
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from core.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from feast import RepoConfig

# A frozen server must not hang a request for ever; the connection string may say otherwise.
DEFAULTS: dict[str, Any] = {"socket_timeout": 5, "socket_connect_timeout": 2}


@dataclass(frozen=True)
class Address:
    """Where Redis is.

    Attributes
    ----------
    host, port : str, int
        The first node of the connection string.
    options : dict
        Everything with ``=``: ``db``, ``password``, ``ssl``, …, as keyword arguments of redis-py.
    nodes : list of (str, int)
        All nodes; more than one only with Sentinel.
    """

    host: str
    port: int
    options: dict[str, Any] = field(default_factory=dict)
    nodes: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_address(connection_string: str) -> Address:
    """Read a Feast connection string: ``host:port[,host:port…][,db=0][,password=…][,ssl=true]``.

    Raises
    ------
    ConfigError
        When it names no host, or a port that is no number.
    """
    _, options = RedisOnlineStore._parse_connection_string(connection_string)
    nodes = []
    for part in (p.strip() for p in connection_string.split(",") if "=" not in p):
        host, _, port = part.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(
                f"{part!r} is no Redis address.",
                hint="Write host:port[,db=0,password=…] in PUNCTUAL_REDIS "
                "(online_store.connection_string in feature_store.yaml).",
            )
        nodes.append((host, int(port)))
    if not nodes:
        raise ConfigError(
            "The online store's connection string names no host.", hint="Set PUNCTUAL_REDIS to host:port."
        )
    return Address(*nodes[0], options, tuple(nodes))


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
