"""Feast's Redis online store with a writer that never puts older over newer, also with several writers at once.

Any Feast client reads what it writes, and it reads what any Feast client wrote: the layout is Feast's own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Literal

from feast import Entity, FeatureView, RepoConfig
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from pydantic import Field, StrictStr

from core.settings import get_settings
from stores import ledger
from stores.codec import to_microseconds
from stores.connection import online_config
from stores.upsert import Upsert
from stores.wire import Wire

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]


def _configured() -> str:
    get_settings()  # puts the default there where the environment says nothing
    return os.environ["PUNCTUAL_REDIS"]


class BulkRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """``online_store`` of ``feature_store.yaml``: Feast's Redis settings, with the address from ``PUNCTUAL_REDIS``."""

    type: Literal["stores.online.BulkRedisOnlineStore"] = "stores.online.BulkRedisOnlineStore"
    connection_string: StrictStr = Field(default_factory=_configured)


class BulkRedisOnlineStore(RedisOnlineStore):
    """The online store; ``type: stores.online.BulkRedisOnlineStore``.

    It differs from Feast's in what it does with a row that meets another one of the same key: Feast keeps the first
    of two rows with the same event time, so a correction never arrives; here the newer created time wins, and of two
    equal ones the later arrival. Comparing and writing are one transaction (:mod:`stores.upsert`).
    """

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows as Feast hands them over (``materialize``, ``push``, ``write_to_online_store``).

        Raises
        ------
        StoreUnavailable
            When Redis does not answer.
        """
        project, version = config.project.encode(), config.entity_key_serialization_version
        with closing(Wire(config)) as wire:
            for features, rows in _by_features(data).items():
                expiry = online_config(config).key_ttl_seconds
                upsert = Upsert(wire, ledger.stored_name(config, table), features, expiry=expiry)
                upsert.write(
                    [serialize_entity_key(row[0], version) + project for row in rows],
                    [to_microseconds(_aware(row[2])) for row in rows],
                    [to_microseconds(_aware(row[3] or row[2])) for row in rows],
                    [[row[1][feature].SerializeToString() for row in rows] for feature in features],
                )
                if progress:
                    progress(len(rows))

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Do the same without blocking the event loop."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def delete_table(self, config: RepoConfig, table: FeatureView) -> None:
        """Delete a view's rows, and the note of what was taken in: it is filled from the start next time."""
        ledger.forget(self._get_client(online_config(config)), config, [table])
        super().delete_table(config, table)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Delete the rows of all views, and the note of what was taken in."""
        ledger.forget(self._get_client(online_config(config)), config, tables)
        super().teardown(config, tables, entities)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _by_features(data: list[Row]) -> dict[tuple[str, ...], list[Row]]:
    """Group rows by the features they carry: a push may leave some out."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in data:
        groups.setdefault(tuple(row[1]), []).append(row)
    return groups
