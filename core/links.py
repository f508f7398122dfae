"""Where people find the dashboard: what links in mails begin with, and where an OIDC provider sends them back to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.client import here
from core.errors import ConfigError

if TYPE_CHECKING:
    from core.settings import Settings


def dashboard_address(settings: Settings) -> str:
    """Return where people find the dashboard: what the settings say, whatever a request calls us.

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
