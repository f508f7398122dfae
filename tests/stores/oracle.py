"""Point-in-time semantics in plain Python: slow, obvious, and the judge of both stores.

A feature row that was last written wins among rows with equal keys, event and created timestamps. A created
timestamp that is not known says nothing about when the row became known, so its event timestamp stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

Row = Mapping[str, Any]


def lookup(
    entity: Row,
    rows: Sequence[Row],
    keys: Mapping[str, str],
    *,
    ttl: timedelta | None,
    knowledge_time: bool,
    moment: str = "event_timestamp",
) -> Row | None:
    """Return the feature row that counts for one entity row, or None.

    Parameters
    ----------
    entity : mapping
        Join keys and the moment asked for.
    rows : sequence of mappings
        Feature rows in the order they were written, with ``event_timestamp`` and perhaps ``created_timestamp``.
    keys : mapping of str to str
        Key of the feature rows -> key of the entity row.
    ttl : timedelta, optional
        How long a value counts, the last moment included; None or zero: for ever.
    knowledge_time : bool
        Whether a row does not exist before it was created.
    """
    asked: datetime | None = entity[moment]
    if asked is None:
        return None
    best: Row | None = None
    for row in rows:
        if any(row[k] is None or row[k] != entity[e] for k, e in keys.items()):
            continue
        event = row["event_timestamp"]
        if event is None or event > asked:
            continue
        created = row.get("created_timestamp")
        if knowledge_time and created is not None and created > asked:
            continue
        if best is None or _age(row) >= _age(best):
            best = row
    if best is not None and ttl and best["event_timestamp"] + ttl < asked:
        return None
    return best


def _age(row: Row) -> tuple[datetime, bool, datetime]:
    """Order rows by event, then created timestamp; one that was never stamped comes before those that were."""
    created = row.get("created_timestamp")
    return row["event_timestamp"], created is not None, created or row["event_timestamp"]
