"""Keeps what grows by itself small: the parts of a day become one, and what is older than it need be goes.

The prediction service writes a part a second at most, so a quiet day leaves thousands of small files. Merging them is
safe at any moment, also from a kill: a merged part names in its footer those that it stands for, and from the moment it
is there readers leave them out (:mod:`monitoring.parts`). They are deleted an hour later, so that whoever had listed
them can still read them.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from core.clock import SystemClock
from core.files import atomic_path, locked
from monitoring.drift_reports import drop_pages
from monitoring.parts import Part, everything, parts, replaced
from stores.sql import connect, text

if TYPE_CHECKING:
    from core.layout import Layout
    from core.repo import FeatureRepo
    from core.settings import Settings

log = logging.getLogger("punctual.tidy")

_TOGETHER = 2_000  # parts that become one: their names are kept in its footer
_GRACE = timedelta(hours=1)
_ROW_GROUP = 10_000  # one prediction is found by reading one of them


def tidy(repo: FeatureRepo, settings: Settings, now: datetime | None = None) -> dict[str, Any]:
    """Merge the parts of days that are over, and remove what the settings no longer keep.

    Days are the machine's, which the log is filed by. Killed anywhere and run again it leads to the same rows.

    Parameters
    ----------
    repo, settings : FeatureRepo, Settings
        Whose log, and how long things are kept.
    now : datetime, optional
        Timezone-aware; by default the machine's clock.

    Returns
    -------
    dict
        ``merged``: parts that became others; ``deleted``: parts of which others hold the rows; ``days``: days of the
        log that were removed; ``pages``: pages of drift reports that were.
    """
    now = now or SystemClock().now()
    layout = repo.layout
    done = {"merged": 0, "deleted": 0, "days": 0, "pages": 0}
    with locked(layout.monitoring / "tidy.lock"):
        if settings.keep_log_days:
            done["days"] = _drop_days(layout, now.date() - timedelta(days=settings.keep_log_days))
        done["deleted"] = _delete_replaced(layout, now)
        there, held = parts(layout), replaced(layout)
        for day, some in groupby(there, _day):  # (they come in the order of their names)
            if _is_over(day, now):
                done["merged"] += _merge(layout, list(some), held)
        if settings.keep_pages_days:
            done["pages"] = drop_pages(repo, now - timedelta(days=settings.keep_pages_days))
    log.info("tidied", extra=done)
    return done


def _merge(layout: Layout, there: list[Part], held: Mapping[str, str]) -> int:
    """Merge the parts of one day; return how many became others. ``held``: what merged parts stand for already."""
    merged = 0
    for start in range(0, len(there), _TOGETHER):
        some = there[start : start + _TOGETHER]
        if len(some) < 2:
            continue
        first = layout.predictions / some[0].name
        path = first.with_name(f"{first.stem.removesuffix('-merged')}-merged.parquet")
        if path.exists():  # it is one of them: the next merge of its day begins with another name
            path = first.with_name(f"{first.stem}-merged.parquet")
        names = [part.name for part in some]
        # What one of them stands for, this one stands for too: in whatever order they are deleted, no row comes back.
        names += [name for name, by in held.items() if by in names]
        joined = " ".join(names)
        how = f"COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP}, KV_METADATA {{replaces: {text(joined)}}}"
        with atomic_path(path) as temporary, connect() as con:
            con.execute(
                f"COPY (SELECT * FROM {everything(layout, some)} ORDER BY prediction_id) TO {text(temporary)} "
                f"(FORMAT parquet, {how})"
            )
        merged += len(some)
    return merged


def _delete_replaced(layout: Layout, now: datetime) -> int:
    """Delete parts whose rows another has held for long enough."""
    before = (now - _GRACE).timestamp()
    old = [name for name, by in replaced(layout).items() if (layout.predictions / by).stat().st_mtime <= before]
    for name in old:
        (layout.predictions / name).unlink()
    return len(old)


def _drop_days(layout: Layout, before: date) -> int:
    """Remove the log of days before one."""
    old = sorted({day for day in map(_day, parts(layout)) if date.fromisoformat(day) < before})
    for day in old:
        shutil.rmtree(layout.predictions / day)
    return len(old)


def _day(part: Part) -> str:
    return part.name.partition("/")[0]


def _is_over(day: str, now: datetime) -> bool:
    # A part is filed under the day of its first row, and may wait for a busy disk.
    return date.fromisoformat(day) < (now - _GRACE).date()
