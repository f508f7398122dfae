"""Online reads for serving: Feast's rows in Redis, in one round trip, with their age checked against a promise.

Feast's own online read ignores ttl: a value of 20 minutes ago comes back as PRESENT from a view whose ttl is one
second. Here each view states how fresh it promises to be and what to do when it is not (:class:`stores.plan.Promise`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stores.connection import online_config
from stores.entities import DUMMY_KEY
from stores.group_read import GroupRead
from stores.kept import Kept
from stores.plan import plan
from stores.rows import Gathering, OnlineRows
from stores.wire import AsyncWire, Wire

if TYPE_CHECKING:
    from feast import FeatureService, FeatureStore


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
    wire : AsyncWire, optional
        A connection to share with other readers of the store. Default: its own.
    keep : int
        How many rows to keep until the store says that they changed; see :mod:`stores.kept`.

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
        wire: AsyncWire | None = None,
        keep: int = 0,
    ) -> None:
        self._groups = plan(store, features, full_feature_names=full_feature_names)
        self._wire = Wire(store.config)
        self._async_wire = wire or AsyncWire(store.config)
        self._kept: Kept | None = None
        # Of keys that run out by themselves the store does not tell in time.
        if keep and not online_config(store.config).key_ttl_seconds:
            self._kept = Kept(len(self._groups), keep)
            self._async_wire.watch(self._kept)
        self.join_keys = tuple(dict.fromkeys(key for group in self._groups for key in group.keys if key != DUMMY_KEY))
        self.features = tuple(name for group in self._groups for view in group.views for name in view.features)
        self.plans = tuple(view for group in self._groups for view in group.views)
        self.views = tuple(view.name for view in self.plans)

    async def read(
        self,
        given: Mapping[str, list[Any]],
        count: int,
        now: datetime,
        *,
        refuse: bool = True,
        kept: bool = False,
    ) -> OnlineRows:
        """Read the rows of ``count`` keys in one round trip.

        Parameters
        ----------
        given : mapping of str to list, each of length ``count``
            The values of every join key by its name; others are passed over. Where a key of a view is ``None``, that
            view's values are missing. Equal keys are asked for once.
        now : datetime
            Timezone-aware; ages refer to it, and values stamped later do not exist yet.
        refuse : bool
            Heed the policy ``refuse``; False to look at what is there, stale or not.
        kept : bool
            Take rows that are kept, and keep what is read. What is kept is as new as the last reply that came over the
            connection: only for whoever has just had one.

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
        store = self._kept if kept else None
        try:
            for number, group in enumerate(self._groups):
                read, asked = GroupRead(group, given, count, store, number), None
                if read.owed:
                    channel = channel or await wire.connect()
                    asked = channel.ask(read.payload, read.owed)
                request.append((read, asked))
        finally:
            if channel is not None:  # also where a later group's key is wrong: what was asked has its place in line
                channel.flush()
        rows = Gathering(now, refuse=refuse)
        for read, asked in request:
            rows.take(read, await wire.replies(asked) if asked else ())
        return rows.done()

    def read_sync(self, keys: Sequence[Mapping[str, Any]], now: datetime) -> OnlineRows:
        """Do the same for code that does not run in an event loop, and that has its keys row by row; nothing is kept.

        Parameters
        ----------
        keys : sequence of mapping, length n
            Join keys by name; what is absent is ``None``.
        """
        given = {name: [row.get(name) for row in keys] for name in self.join_keys}
        request = [GroupRead(group, given, len(keys)) for group in self._groups]
        count = sum(read.owed for read in request)
        replies = self._wire.exchange(b"".join(read.payload for read in request), count) if count else []
        rows, start = Gathering(now), 0
        for read in request:
            rows.take(read, replies[start : start + read.owed])
            start += read.owed
        return rows.done()

    async def warm(self) -> None:
        """Open the connection, so that the first request does not pay for it.

        Raises
        ------
        StoreUnavailable
            When Redis does not answer.
        """
        await self._async_wire.ping()

    def close(self) -> None:
        """Close the connections; the next read opens them again."""
        self._wire.close()
        self._async_wire.close()
