"""How old what a prediction saw is: since when each view's values are known, and which are older than promised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import orjson

from stores.codec import Remembered, from_microseconds
from stores.rows import Status

if TYPE_CHECKING:
    from stores.rows import OnlineRows

LATE = (Status.STALE, Status.EXPIRED)


class _Moments(Remembered[int | None, bytes]):
    """Microseconds since 1970 -> JSON of a view's moment, remembered: rows are stored in batches of one event time."""

    _MOST = 5_000  # of each view

    def __init__(self, before: bytes, after: bytes) -> None:
        super().__init__()
        self._before, self._after = before, after

    def __missing__(self, microseconds: int | None) -> bytes:
        moment = None if microseconds is None else from_microseconds(microseconds)
        return self.keep(microseconds, self._before + orjson.dumps(moment, option=orjson.OPT_UTC_Z) + self._after)


class AsOf:
    """Says since when the values of some views are known."""

    def __init__(self, views: Sequence[str]) -> None:
        members: list[_Moments] = []
        for number, view in enumerate(views, 1):
            between = b"," if members else b"{"
            members.append(_Moments(between + orjson.dumps(view) + b":", b"}" if number == len(views) else b""))
        self._members = {view: member.__getitem__ for view, member in zip(views, members, strict=True)}

    def __call__(self, online: OnlineRows, count: int) -> list[bytes]:
        """Return for each row a JSON object: view -> when its values became known; null where nothing is known."""
        if not self._members:
            return [b"{}"] * count
        members: list[Iterable[bytes]] = []
        for name, member in self._members.items():
            view = online.views[name]
            known: Iterable[int | None] = view.event_us
            if not view.present and Status.FUTURE in view.status:
                known = (None if state is Status.FUTURE else us for us, state in zip(known, view.status, strict=True))
            members.append(map(member, known))
        return list(map(b"".join, zip(*members, strict=True)))


def late_views(online: OnlineRows) -> list[tuple[str, list[Status]]]:
    """Return the views of which some row is older than promised."""
    return [
        (name, view.status)
        for name, view in online.views.items()
        if not view.present and any(state in view.status for state in LATE)
    ]
