"""Online reads for serving: Feast's rows in Redis, in one round trip, with their age checked against a promise.

Feast's own online read ignores ttl: a value of 20 minutes ago comes back as PRESENT from a view whose ttl is one
second. Here each view states how fresh it promises to be and what to do when it is not (:class:`stores.plan.Promise`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from core.errors import InvalidRequest, StaleFeatures
from stores.codec import Moments, decode_column, decode_row, from_microseconds, to_microseconds
from stores.entities import DUMMY_KEY
from stores.plan import KeyGroup, ViewPlan, plan
from stores.wire import AsyncWire, Wire

if TYPE_CHECKING:
    from feast import FeatureService, FeatureStore

_MICROSECOND = timedelta(microseconds=1)
_DUMMY = ("",)  # the value of a view without entities
_moment = Moments().__getitem__


class Status(StrEnum):
    """What became of one view's row."""

    PRESENT = "present"
    STALE = "stale"  # older than promised, served and flagged
    EXPIRED = "expired"  # past the ttl, or older than promised with the policy `missing`: treated as missing
    FUTURE = "future"  # stamped later than now, treated as missing
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class ViewRows:
    """Where the values of one view come from, row by row.

    Attributes
    ----------
    status : list of Status, length n
    event_us : list of (int or None), length n
        Event time in microseconds since 1970 UTC; ``None`` where nothing is stored.
    """

    status: list[Status]
    event_us: list[int | None]

    @property
    def event_timestamps(self) -> list[datetime | None]:
        """When each row's fact became known (UTC); ``None`` where nothing is stored."""
        return [None if us is None else from_microseconds(us) for us in self.event_us]


@dataclass(frozen=True, slots=True)
class OnlineRows:
    """The answer to a read of n rows.

    Attributes
    ----------
    columns : dict of str to list, each of length n
        Plain Python values by feature; ``None`` where missing. Moments are timezone-aware UTC.
    views : dict of str to ViewRows
        By view name (or alias).
    now : datetime
        The moment that ages refer to.
    """

    columns: dict[str, list[Any]]
    views: dict[str, ViewRows]
    now: datetime

    def ages(self, view: str) -> list[timedelta | None]:
        """Return how old each row of ``view`` is; ``None`` where nothing is stored."""
        return [None if t is None else self.now - t for t in self.views[view].event_timestamps]

    def stale(self, row: int) -> list[str]:
        """Return the views whose values for ``row`` are older than promised, served or not."""
        late = (Status.STALE, Status.EXPIRED)
        return [name for name, view in self.views.items() if view.status[row] in late]


class OnlineReader:
    """Reads a fixed set of features, many times.

    Parameters
    ----------
    store : FeatureStore
        Any Feast store whose online store is Redis.
    features : FeatureService or sequence of str
        What to read: a feature service, or references ``<view>:<feature>``. On-demand views are passed over.
    full_feature_names : bool
        Name the columns ``<view>__<feature>``.

    Raises
    ------
    ConfigError
        When something is not registered or not online, or the online store is not Redis.

    Examples
    --------
    >>> reader = OnlineReader(store, ["customer_payments:missed_30d"])  # doctest: +SKIP
    >>> reader.read_sync([{"customer_id": 7}], now).columns  # doctest: +SKIP
    {'missed_30d': [2]}
    """

    def __init__(
        self,
        store: FeatureStore,
        features: FeatureService | Sequence[str],
        *,
        full_feature_names: bool = False,
    ) -> None:
        self._groups = plan(store, features, full_feature_names=full_feature_names)
        self._wire = Wire(store.config)
        self._async_wire = AsyncWire(store.config)
        self.join_keys = tuple(dict.fromkeys(key for group in self._groups for key in group.keys if key != DUMMY_KEY))
        self.features = tuple(name for group in self._groups for view in group.views for name in view.features)
        self.plans = tuple(view for group in self._groups for view in group.views)
        self.views = tuple(view.name for view in self.plans)

    async def read(self, keys: Sequence[Mapping[str, Any]], now: datetime, *, refuse: bool = True) -> OnlineRows:
        """Read the rows of ``keys`` in one round trip.

        Parameters
        ----------
        keys : sequence of mapping, length n
            Join keys by name; others are passed over. Where a key of a view is absent or ``None``, that view's
            values are missing. Equal keys are asked for once.
        now : datetime
            Timezone-aware; ages refer to it, and values stamped later do not exist yet.
        refuse : bool
            Heed the policy ``refuse``; False to look at what is there, stale or not.

        Raises
        ------
        InvalidRequest
            When a key has the wrong type.
        StaleFeatures
            When a view with the policy ``refuse`` is older than it promises.
        StoreUnavailable
            When Redis does not answer.
        """
        wire, channel, request = self._async_wire, None, []
        given = _given(self.join_keys, keys)
        try:
            for group in self._groups:
                lookup, asked = _Lookup(group, given, len(keys)), None
                if lookup.commands:
                    channel = channel or await wire.connect()
                    asked = channel.ask(b"".join(lookup.commands), len(lookup.commands))
                request.append((lookup, asked))
        finally:
            if channel is not None:  # also where a later group's key is wrong: what was asked has its place in line
                channel.flush()
        rows = _Rows(now, refuse=refuse)
        for lookup, asked in request:
            rows.take(lookup, await wire.replies(asked) if asked else [])
        return rows.done()

    def read_sync(self, keys: Sequence[Mapping[str, Any]], now: datetime) -> OnlineRows:
        """Do the same as :meth:`read` for code that does not run in an event loop."""
        given = _given(self.join_keys, keys)
        request = [_Lookup(group, given, len(keys)) for group in self._groups]
        commands = [command for lookup in request for command in lookup.commands]
        replies = self._wire.exchange(b"".join(commands), len(commands)) if commands else []
        rows, start = _Rows(now), 0
        for lookup in request:
            end = start + len(lookup.commands)
            rows.take(lookup, replies[start:end])
            start = end
        return rows.done()

    async def warm(self) -> None:
        """Open the connection, so that the first request does not pay for it.

        Raises
        ------
        StoreUnavailable
            When Redis does not answer.
        """
        await self._async_wire.exchange(b"*1\r\n$4\r\nPING\r\n", 1)

    def close(self) -> None:
        """Close the connections; the next read opens them again."""
        self._wire.close()
        self._async_wire.close()


class _Lookup:
    """What one key group asks for: its distinct keys, and which of them each row wants (-1: none)."""

    __slots__ = ("commands", "group", "slots")

    def __init__(self, group: KeyGroup, given: Mapping[str, list[Any]], count: int) -> None:
        self.group = group
        self.commands: list[bytes] = []
        values: list[tuple[Any, ...]]
        if group.keys == (DUMMY_KEY,):
            values = [_DUMMY] * count
        else:
            values = list(zip(*map(given.__getitem__, group.keys), strict=True))
        try:
            slots = dict.fromkeys(values, -1)
        except TypeError as error:  # a list, say
            raise self._wrong(
                next(i for i, key in enumerate(values) if not _is_hashable(key)), values, error
            ) from error
        for key in slots:
            if None not in key:
                try:
                    self.commands.append(group.command(key))
                except (TypeError, struct.error) as error:
                    raise self._wrong(values.index(key), values, error) from error
                slots[key] = len(self.commands) - 1
        self.slots = [slots[key] for key in values]

    def spread(self, values: list[Any], absent: Any) -> list[Any]:
        """Return for each row what is known of its key; ``absent`` where it has none."""
        known = [*values, absent]  # slot -1
        return [known[slot] for slot in self.slots]

    def _wrong(self, index: int, values: list[tuple[Any, ...]], error: Exception) -> InvalidRequest:
        return InvalidRequest(
            f"Entity {index}: {dict(zip(self.group.keys, values[index], strict=True))!r} is not a key of "
            f"{', '.join(view.name for view in self.group.views)}: {error}.",
            hint="Send keys of the type that the feature view declares.",
            entity=index,
        )


def _given(names: Sequence[str], keys: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in keys] for name in names}


def _is_hashable(key: tuple[Any, ...]) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True


class _Rows:
    """Gathers what the groups of a read give."""

    def __init__(self, now: datetime, *, refuse: bool = True) -> None:
        self._now, self._now_us, self._refuse = now, to_microseconds(now), refuse
        self._columns: dict[str, list[Any]] = {}
        self._views: dict[str, ViewRows] = {}

    def take(self, lookup: _Lookup, replies: list[Any]) -> None:
        """Take the replies to one group's commands."""
        columns = self._columns
        raw = list(zip(*replies, strict=True)) if replies else [()] * lookup.group.width  # a column a stored field
        shared = lookup.slots != list(range(len(replies)))  # some rows share a key, or have none
        for view in lookup.group.views:
            status, event_us = _judge(view, raw[view.start + len(view.features)], self._now_us)
            if self._refuse:
                _refuse_stale(view, lookup.slots, status, event_us, self._now)
            stop = view.start + len(view.features)
            if 0 < len(replies) < len(view.features):  # a call for each row is fewer than one for each column
                decoded = zip(*(decode_row(reply[view.start : stop]) for reply in replies), strict=True)
                columns.update(zip(view.features, map(list, decoded), strict=True))
            else:
                columns.update(zip(view.features, map(decode_column, raw[view.start : stop]), strict=True))
            if not _SERVED.issuperset(status):
                for slot, state in enumerate(status):
                    if state not in _SERVED:
                        for name in view.features:
                            columns[name][slot] = None
            if shared:
                status = lookup.spread(status, Status.NOT_FOUND)
                event_us = lookup.spread(event_us, None)
                for name in view.features:
                    columns[name] = lookup.spread(columns[name], None)
            self._views[view.name] = ViewRows(status, event_us)

    def done(self) -> OnlineRows:
        """Return all of it."""
        return OnlineRows(self._columns, self._views, self._now)


_SERVED = frozenset((Status.PRESENT, Status.STALE))
_NEVER = -(1 << 63)


def _judge(view: ViewPlan, stamps: Sequence[bytes | None], now_us: int) -> tuple[list[Status], list[int | None]]:
    """Return status and event time of each distinct key's row, by their stored event times."""
    promise = view.promise
    fresh, alive = (_NEVER if age is None else now_us - age // _MICROSECOND for age in (promise.age, promise.ttl))
    event_us = list(map(_moment, stamps))
    late = Status.EXPIRED if promise.policy == "missing" else Status.STALE
    dead = Status.STALE if promise.policy == "refuse" else Status.EXPIRED
    status = [Status.PRESENT] * len(event_us)
    for slot, us in enumerate(event_us):
        if us is None:
            status[slot] = Status.NOT_FOUND
        elif us > now_us:
            status[slot] = Status.FUTURE
        elif us < alive:
            status[slot] = dead
        elif us < fresh:
            status[slot] = late
    return status, event_us


def _refuse_stale(
    view: ViewPlan, slots: list[int], status: list[Status], event_us: list[int | None], now: datetime
) -> None:
    if view.promise.policy != "refuse" or Status.STALE not in status:
        return
    index = next(i for i, slot in enumerate(slots) if slot >= 0 and status[slot] is Status.STALE)
    moment = from_microseconds(event_us[slots[index]] or 0)
    raise StaleFeatures(
        f"Entity {index}: the features of {view.name!r} are {now - moment} old; the view promises {view.promise.age}.",
        hint="Fetch and materialize newer data, or relax the view's tags freshness and stale.",
        entity=index,
        view=view.name,
        age_seconds=(now - moment).total_seconds(),
    )
