"""By which name a request asks for us, and who asks: as the headers say, as far as they can be believed."""

from __future__ import annotations

import re
from collections.abc import Container
from ipaddress import ip_address

_HOST = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[^:\[\]/]*)(:\d+)?$")


def host_name(header: str) -> str:
    """Return the name in a ``Host`` header, lower case and without its port; empty where it is none."""
    match = _HOST.fullmatch(header)
    return match[1].lower() if match else ""


def client_address(forwarded: str, proxies: Container[str]) -> str:
    """Return the last address of ``X-Forwarded-For`` that is no proxy of ours; all before it may be made up.

    Empty where there is none, or what stands there is no address.
    """
    for part in reversed(forwarded.split(",")):
        text = part.strip()
        if text in proxies:
            continue
        try:
            return str(ip_address(text))
        except ValueError:
            return ""
    return ""
