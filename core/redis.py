"""Where Redis is, read from the same connection string that Feast reads: ``host:port[,db=0][,password=…]``."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError
from core.files import make_secret, read_secret

if TYPE_CHECKING:
    from pathlib import Path

# A frozen server must not hang a request for ever; the connection string may say otherwise.
DEFAULTS: dict[str, Any] = {"socket_timeout": 5, "socket_connect_timeout": 2}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_OURS = "embedded-"
# With the name, a server that asks for no password takes any: a Redis of one's own, or an embedded server of before.
_LOGIN = f",username=default,password={_OURS}"


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


def may_be_embedded(connection_string: str) -> bool:
    """Return whether the embedded server may be meant: an address of this machine alone, with no password but ours."""
    address = parse_address(connection_string.partition(_LOGIN)[0])
    return address.host in LOOPBACK and len(address.nodes) == 1 and "password" not in address.options


def with_password(connection_string: str, secret: Path) -> str:
    """Return the connection string with the embedded server's password, if that may be meant and has one.

    One that was put there for another feature repo is replaced: by the process that has started this one, or before a
    copy was made.
    """
    try:
        password = read_secret(secret)
    except PermissionError:  # another user's: a service that runs by itself is told it in PUNCTUAL_REDIS
        password = None
    if password is None or not may_be_embedded(connection_string):
        return connection_string
    return f"{connection_string.partition(_LOGIN)[0]}{_LOGIN}{password.removeprefix(_OURS)}"


def make_password(secret: Path) -> None:
    """Make the embedded server's password, unless there is one."""
    make_secret(secret, f"{_OURS}{secrets.token_urlsafe(32)}")
