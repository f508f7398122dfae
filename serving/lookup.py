"""What the model will see of some entities: join keys that were not sent, stored features, on-demand features."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.errors import StoreUnavailable
from serving import on_demand
from stores.reader import OnlineReader, OnlineRows, Status, ViewRows

if TYPE_CHECKING:
    from feast import FeatureStore

    from serving.request import Entity
    from serving.resolve import Needs

NOTHING = (Status.NOT_FOUND, Status.FUTURE)
Bad = dict[int, str]  # row -> what is wrong with it


class Lookup:
    """Reads what one problem's predictions need.

    Parameters
    ----------
    store : FeatureStore
        Opened once; the plans are made from its registry.
    needs : Needs
        Keys and inputs, and where they come from.
    """

    def __init__(self, store: FeatureStore, needs: Needs) -> None:
        self.needs = needs
        self.features = OnlineReader(store, needs.reading)
        self._keys = OnlineReader(store, list(needs.lookups.values())) if needs.lookups else None
        self._carried = [(name, reference.partition(":")[2]) for name, reference in needs.lookups.items()]
        self._own_views = self._views_of_the_entity(store)

    async def warm(self) -> None:
        """Open the connections; an absent store is no reason to fail: requests get a 503 until it is back."""
        with suppress(StoreUnavailable):
            await self.ping()

    async def ping(self) -> None:
        """Make sure that the online store answers.

        Raises
        ------
        StoreUnavailable
            When it does not.
        """
        await self.features.warm()
        if self._keys:
            await self._keys.warm()

    async def fill(self, rows: list[Entity], now: datetime) -> tuple[set[int], Bad]:
        """Fill in what the entities stand for; a value that was sent stays.

        Returns
        -------
        looked_up : set of int
            Rows that were looked up.
        unknown : dict of int to str
            Those of them that the store does not know.
        """
        names = self.needs.lookups.keys()
        lacking = {i for i, row in enumerate(rows) if not names <= row.keys()}
        if not lacking or self._keys is None:
            return lacking, {}
        # A row that lacks nothing is read without keys: positions stay those of the rows.
        wanted = rows if len(lacking) == len(rows) else [row if i in lacking else {} for i, row in enumerate(rows)]
        found = await self._keys.read(wanted, now)
        unknown = {}
        columns = [(name, found.columns[feature]) for name, feature in self._carried]
        nothing = _nothing(list(found.views.values()), len(rows))
        for i in sorted(lacking):
            row = rows[i]
            if i in nothing:
                unknown[i] = self._unknown(row)
                continue
            for name, column in columns:
                if name not in row:
                    row[name] = column[i]
        return lacking, unknown

    def incomplete(self, rows: list[Entity]) -> Bad:
        """Return the rows that lack a join key or an input even now."""
        count = len(self.needs.types)
        return {
            i: f"{', '.join(absent)} must be sent: no feature view of the entity carries it"
            for i, row in enumerate(rows)
            if len(row) < count and (absent := [name for name in self.needs.types if name not in row])
        }

    def unknown(self, rows: list[Entity], online: OnlineRows, looked_up: set[int]) -> Bad:
        """Return the rows of which no view of the service knows anything, where no lookup has found them."""
        if not self._own_views or len(looked_up) == len(rows):
            return {}
        nothing = _nothing([online.views[name] for name in self._own_views], len(rows))
        return {i: self._unknown(rows[i]) for i in sorted(nothing - looked_up)}

    def columns(self, rows: list[Entity], online: OnlineRows) -> dict[str, list[Any]]:
        """Return everything a model may ask for, by name: stored, sent, and computed on demand."""
        columns: dict[str, list[Any]] = dict(online.columns)
        for name in self.needs.types:
            columns[name] = [row.get(name) for row in rows]
        for view in self.needs.on_demand:
            columns |= on_demand.run(view, columns, len(rows))
        return columns

    def close(self) -> None:
        """Close the connections."""
        self.features.close()
        if self._keys:
            self._keys.close()

    def _unknown(self, row: Entity) -> str:
        keys = ", ".join(f"{name} {row[name]!r}" for name in self.needs.entity_keys)
        return f"the online store knows no {keys}"

    def _views_of_the_entity(self, store: FeatureStore) -> list[str]:
        """Return the views of the service that are keyed by the problem's entity alone."""
        keys = set(self.needs.entity_keys)
        names = []
        for projection in self.needs.service.feature_view_projections:
            if projection.name_to_use() not in self.features.views:
                continue
            view = store.get_feature_view(projection.name)
            if {projection.join_key_map.get(c.name, c.name) for c in view.entity_columns} == keys:
                names.append(projection.name_to_use())
        return names


def _nothing(views: list[ViewRows], count: int) -> set[int]:
    """Return the rows of which none of the views knows anything."""
    found = set(range(count))
    for view in views:
        found &= {i for i, status in enumerate(view.status) if status in NOTHING}
    return found
