"""Days as people pick them, as services take them."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from dashboard.parts.contract import sent


def window(days: Any) -> tuple[str | None, str | None]:
    """Return the bounds of picked days, both included, as half-open moments; while only one is picked, no end."""
    picked = [day for day in (days if isinstance(days, tuple | list) else (days,)) if isinstance(day, date)]
    since = sent(datetime.combine(picked[0], time())) if picked else None
    until = sent(datetime.combine(picked[1] + timedelta(days=1), time())) if len(picked) > 1 else None
    return since, until
