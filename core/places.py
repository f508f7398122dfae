"""Where the services and the dashboard are: for programs that call them, and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from core.errors import ConfigError

if TYPE_CHECKING:
    from core.settings import Settings

Name = Literal["data", "training", "prediction", "monitoring"]
# Each service's port setting, in the order in which services are started: each can do without those after it.
PORTS: dict[Name, str] = {
    "data": "data_port",
    "training": "training_port",
    "prediction": "port",
    "monitoring": "monitoring_port",
}


def service_url(settings: Settings, name: Name) -> str:
    """Return where a service is: as configured, or on this machine."""
    configured = getattr(settings, f"{name}_url")
    if configured:
        return str(configured)
    return here(settings, getattr(settings, PORTS[name]))


def here(settings: Settings, port: int) -> str:
    """Return the address of a port on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{port}"


def dashboard_address(settings: Settings) -> str:
    """Return where people find the dashboard: what links in mails begin with, and an OIDC provider sends them back to.

    It is what the settings say, whatever a request calls us.

    Raises
    ------
    ConfigError
        When that is no address.
    """
    if settings.dashboard_url is None:
        return here(settings, settings.dashboard_port)
    parts = urlsplit(settings.dashboard_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(
            "PUNCTUAL_DASHBOARD_URL is no http(s) address.", hint="Write one, as in https://punctual.example.org."
        )
    return settings.dashboard_url.rstrip("/")
