"""By which name a request asks for us, and who asks: as the headers say, as far as they can be believed."""

from __future__ import annotations

import re
from collections.abc import Container
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

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


def counted_as(address: str) -> str:
    """Return whom requests of an address are counted for: itself, or of IPv6 its network of 64 bits, all one host's."""
    return _network(address) if ":" in address else address


@lru_cache(maxsize=10_000)
def _network(address: str) -> str:
    try:
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:  # a socket that takes both kinds says so of IPv4
        return str(found.ipv4_mapped)
    return str(IPv6Network((found, 64), strict=False))
