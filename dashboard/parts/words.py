"""Numbers and times as people read them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from dashboard.parts.contract import as_moment

NOTHING = "-"
_MARKUP = re.compile(r"[\\`*_{}\[\]()<>#+!|$:~^=-]")
_UNITS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def age(seconds: float | None) -> str:
    """Return an age in its largest unit: ``3 days``, ``1 hour``; ``never`` for None."""
    if seconds is None:
        return "never"
    for size, unit in _UNITS:
        count = int(seconds // size)
        if count:
            return f"{count:,} {unit}{'s' if count != 1 else ''}"
    return "just now"


def moment(value: Any) -> str:
    """Return a time of a service as ``2024-03-01 12:00``, UTC; a dash for none."""
    found = as_moment(value)
    return f"{found:%Y-%m-%d %H:%M}" if found else NOTHING


def value(given: Any) -> str:
    """Return a value shortly: numbers to five digits, a dash for what is missing."""
    if given is None:
        return NOTHING
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, float):
        return f"{given:,.5g}" if abs(given) < 100_000 else f"{given:,.0f}"
    if isinstance(given, int):
        return f"{given:,}"
    if isinstance(given, datetime):
        return moment(given)
    return str(given)


def share(probability: float) -> str:
    """Return a probability as per cent, with a digit more where it is near its ends."""
    return f"{probability:.1%}" if 0.01 <= probability <= 0.99 else f"{probability:.2%}"


def several(given: Any) -> str:
    """Return a list or an object as one line."""
    if isinstance(given, dict):
        return "; ".join(f"{name}: {several(one)}" for name, one in given.items())
    if isinstance(given, list | tuple):
        return "; ".join(several(one) for one in given)
    return value(given)


def literal(text: str) -> str:
    """Return a text so that Markdown shows it as it is: what services tell may hold what clients sent."""
    return _MARKUP.sub(r"\\\g<0>", text)
