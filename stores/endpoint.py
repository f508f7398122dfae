"""Where to connect to for raw reads, and what to say first."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import hiredis
from feast.infra.online_stores.redis import RedisType
from redis.sentinel import Sentinel

from core.redis import DEFAULTS, parse_address
from stores.connection import online_config, unavailable

if TYPE_CHECKING:
    from feast import RepoConfig

    from core.errors import StoreUnavailable


class Endpoint:
    """The configured Redis, ready to be connected to.

    Attributes
    ----------
    timeout, connect_timeout : float
        Seconds to wait for a reply, and for a connection.
    ssl : ssl.SSLContext or None
        How to encrypt, if the connection string says ``ssl=true``.
    hello, hello_replies : bytes, int
        Commands that a new connection starts with (login, database), and how many there are.
    """

    def __init__(self, config: RepoConfig) -> None:
        self._online = online_config(config)
        self._configured = parse_address(self._online.connection_string)
        self._options = options = {**DEFAULTS, **self._configured.options}
        self.timeout = float(options["socket_timeout"])
        self.connect_timeout = float(options["socket_connect_timeout"])
        self.ssl = _ssl_context(options) if options.get("ssl") else None
        commands: list[Any] = []
        if "password" in options:
            user = (str(options["username"]),) if "username" in options else ()
            commands.append(("AUTH", *user, str(options["password"])))
        if options.get("db"):
            commands.append(("SELECT", str(options["db"])))
        self.hello = b"".join(hiredis.pack_command(command) for command in commands)
        self.hello_replies = len(commands)

    def locate(self) -> tuple[str, int]:
        """Return host and port to connect to; with Sentinel, those of the present master."""
        if self._online.redis_type != RedisType.redis_sentinel:
            return self._configured.host, self._configured.port
        sentinel = Sentinel(list(self._configured.nodes), **self._options)
        host, port = sentinel.discover_master(self._online.sentinel_master)
        return str(host), int(port)

    def away(self, error: BaseException) -> StoreUnavailable:
        """Return the error that says that this Redis does not answer."""
        return unavailable(self._configured, error)


def _ssl_context(options: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    context.check_hostname = bool(options.get("ssl_check_hostname", True))
    if options.get("ssl_cert_reqs") == "none":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    return context
