"""What the online store knows of one entity: values by view, how old they are, and how old they may be."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from core.errors import InvalidRequest, UnknownEntity
from serving.lookup import NOTHING
from stores.value_types import ValueType

if TYPE_CHECKING:
    from serving.live import Served
    from stores.plan import ViewPlan
    from stores.rows import OnlineRows

_NUMBERS = (ValueType.INT64, ValueType.INT32)


async def describe(served: Served, text: str, now: datetime) -> dict[str, Any]:
    """Return everything that predictions for an entity would be made of.

    Parameters
    ----------
    served : Served
        Whose features.
    text : str
        The entity's id as it stands in a path.
    now : datetime
        What ages refer to.

    Raises
    ------
    InvalidRequest
        When the text is no id of the entity's type.
    UnknownEntity
        When the store knows nothing of it.
    """
    lookup = served.predictor.lookup
    key = lookup.needs.entity_keys[0]
    row = served.reader.check({key: _id(key, lookup.needs.types[key], text)})
    asked = row[key]
    given = lookup.given([row])
    known = await lookup.begin(given, now, refuse=False)
    unknown = lookup.fill(given, known)
    online = await lookup.finish(given, known, now, refuse=False)
    if unknown or lookup.unknown(given, known):
        raise UnknownEntity(f"The online store knows no {key} {asked!r}.")
    return {
        "entity": {key: asked},
        "now": now,
        "keys": {name: values[0] for name, values in given.items() if name not in lookup.must_be_sent},
        "must_be_sent": lookup.must_be_sent,
        "views": {plan.name: _view(plan, online, now) for plan in lookup.plans},
    }


def _view(plan: ViewPlan, online: OnlineRows, now: datetime) -> dict[str, Any]:
    rows = online.views[plan.name]
    status, moment = rows.status[0], rows.event_timestamps[0]
    known = moment is not None and status not in NOTHING
    return {
        "status": status.value,
        "event_timestamp": moment if known else None,
        "age_seconds": (now - moment).total_seconds() if known and moment is not None else None,
        "promise": {
            "freshness_seconds": _seconds(plan.promise.age),
            "when_older": plan.promise.policy,
            "ttl_seconds": _seconds(plan.promise.ttl),
        },
        "values": {name: online.columns[name][0] for name in plan.features},
    }


def _seconds(duration: timedelta | None) -> float | None:
    return duration.total_seconds() if duration is not None else None


def _id(key: str, kind: ValueType, text: str) -> Any:
    if kind not in _NUMBERS:
        return text
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        raise InvalidRequest(f"{key} is a whole number, got {text[:60]!r}.")
    return int(text)
