"""Where Redis is, read from the same connection string that Feast reads: ``host:port[,db=0][,password=…]``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from core.errors import ConfigError

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
    options, nodes = {}, []
    for part in (p.strip() for p in connection_string.split(",")):
        name, assigned, value = part.partition("=")
        if assigned:
            options[name] = _value(value)
            continue
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


def _value(text: str) -> Any:
    """Return an option's value as Feast reads it: JSON where it is JSON, the text itself elsewhere."""
    try:
        return json.loads(text)
    except ValueError:
        return text
