"""What the model will see of some entities: join keys that were not sent, stored features, on-demand features."""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.errors import StoreUnavailable
from serving import on_demand
from stores.plan import plan
from stores.reader import OnlineReader
from stores.rows import OnlineRows, Status, ViewRows
from stores.wire import AsyncWire

if TYPE_CHECKING:
    from feast import FeatureService, FeatureStore

    from serving.request import Entity
    from serving.resolve import Needs

NOTHING = (Status.NOT_FOUND, Status.FUTURE)
Bad = dict[int, str]  # row -> what is wrong with it


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored under the entity alone.

    Attributes
    ----------
    own : OnlineRows
        The service's views that are keyed by the entity; columns are ``<view>__<feature>``.
    carried : OnlineRows
        What gives the values that a client need not send.
    lacking : set of int
        The rows that were sent without some of those.
    """

    own: OnlineRows
    carried: OnlineRows
    lacking: set[int]


class Lookup:
    """Reads what one problem's predictions need.

    Parameters
    ----------
    store : FeatureStore
        Opened once; the plans are made from its registry.
    needs : Needs
        Keys and inputs, and where they come from.
    keep : int
        How many rows of other keys than the entity's are kept until the store says that they changed.

    Attributes
    ----------
    plans : tuple of ViewPlan
        The views that are read, with the features that the service has of them.
    """

    def __init__(self, store: FeatureStore, needs: Needs, *, keep: int = 0) -> None:
        self.needs = needs
        self.plans = tuple(view for group in plan(store, needs.reading) for view in group.views)
        own, others = _by_entity(store, needs)
        self._own_views = [p.name_to_use() for p in own]
        # What a view of the entity carries comes with its features.
        with_own = {p.name: p for p in own if p.name_to_use() == p.name and not p.join_key_map}
        carried = {name: reference.split(":") for name, reference in needs.lookups.items()}
        apart = [reference for name, reference in needs.lookups.items() if carried[name][0] not in with_own]
        self._carried = [(name, f"{view}__{feature}") for name, (view, feature) in carried.items()]
        self._carrying = list(dict.fromkeys(view for view, _ in carried.values()))
        self._stored = [(name, f"{p.name_to_use()}__{name}") for p in own for name in (f.name for f in p.features)]
        for view, feature in carried.values():
            if view in with_own:
                with_own[view].features = _with(with_own[view].features, store.get_feature_view(view), feature)
        self._wire = wire = AsyncWire(store.config)
        self._own = OnlineReader(store, _service(needs, own), full_feature_names=True, wire=wire) if own else None
        self._keys = OnlineReader(store, apart, full_feature_names=True, wire=wire) if apart else None
        self._others = OnlineReader(store, _service(needs, others), wire=wire, keep=keep) if others else None

    async def warm(self) -> None:
        """Open the connection; an absent store is no reason to fail: requests get a 503 until it is back."""
        with suppress(StoreUnavailable):
            await self.ping()

    async def ping(self) -> None:
        """Make sure that the online store answers.

        Raises
        ------
        StoreUnavailable
            When it does not.
        """
        await self._wire.ping()

    async def begin(self, rows: list[Entity], now: datetime, *, refuse: bool = True) -> Known:
        """Read what is stored under the entity alone.

        Parameters
        ----------
        rows : list of dict
            What was sent.
        now : datetime
            What ages refer to.
        refuse : bool
            Heed the policy ``refuse`` of a view.

        Raises
        ------
        InvalidRequest, StaleFeatures, StoreUnavailable
            As the reader says.
        """
        names = self.needs.lookups.keys()
        lacking = {i for i, row in enumerate(rows) if not names <= row.keys()}
        own = await self._own.read(rows, now, refuse=refuse) if self._own else OnlineRows({}, {}, now)
        if self._keys is None or not lacking:
            return Known(own, own, lacking)
        # A row that lacks nothing is read without keys: positions stay those of the rows.
        wanted = rows if len(lacking) == len(rows) else [row if i in lacking else {} for i, row in enumerate(rows)]
        keys = await self._keys.read(wanted, now, refuse=refuse)
        return Known(own, OnlineRows(own.columns | keys.columns, own.views | keys.views, now), lacking)

    def fill(self, rows: list[Entity], known: Known) -> Bad:
        """Fill in what the entities stand for; a value that was sent stays.

        Returns
        -------
        unknown : dict of int to str
            The rows that lack something, and that no view which carries it knows.
        """
        unknown: Bad = {}
        if not known.lacking:
            return unknown
        names = [name for name, _ in self._carried]
        values = list(zip(*(known.carried.columns[feature] for _, feature in self._carried), strict=True))
        nothing = _nothing([known.carried.views[view] for view in self._carrying], len(rows))
        for i in sorted(known.lacking):
            row = rows[i]
            if i in nothing:
                unknown[i] = self._unknown(row)
                continue
            sent = row.copy()
            row.update(zip(names, values[i], strict=True))
            row.update(sent)
        return unknown

    async def finish(self, rows: list[Entity], known: Known, now: datetime, *, refuse: bool = True) -> OnlineRows:
        """Read what is stored under the other keys, now that they are filled in, and return all features.

        Raises
        ------
        InvalidRequest, StaleFeatures, StoreUnavailable
            As the reader says.
        """
        columns = {name: known.own.columns[stored] for name, stored in self._stored}
        views = {name: known.own.views[name] for name in self._own_views}
        if self._others:
            # The entity's own row has just been read over the same connection: what is kept is as new as that.
            others = await self._others.read(rows, now, refuse=refuse, kept=self._own is not None)
            columns |= others.columns
            views |= others.views
        return OnlineRows(columns, views, now)

    def incomplete(self, rows: list[Entity]) -> Bad:
        """Return the rows that lack a join key or an input even now."""
        count = len(self.needs.types)
        return {
            i: f"{', '.join(absent)} must be sent: no feature view of the entity carries it"
            for i, row in enumerate(rows)
            if len(row) < count and (absent := [name for name in self.needs.types if name not in row])
        }

    def unknown(self, rows: list[Entity], known: Known) -> Bad:
        """Return the rows of which no view of the service knows anything, where nothing was looked up for them."""
        if not self._own_views or len(known.lacking) == len(rows):
            return {}
        nothing = _nothing([known.own.views[name] for name in self._own_views], len(rows))
        return {i: self._unknown(rows[i]) for i in sorted(nothing - known.lacking)}

    def columns(self, rows: list[Entity], online: OnlineRows) -> dict[str, list[Any]]:
        """Return everything a model may ask for, by name: stored, sent, and computed on demand."""
        columns: dict[str, list[Any]] = dict(online.columns)
        for name in self.needs.types:
            columns[name] = [row.get(name) for row in rows]
        for view in self.needs.on_demand:
            columns |= on_demand.run(view, columns, len(rows))
        return columns

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    def _unknown(self, row: Entity) -> str:
        keys = ", ".join(f"{name} {row[name]!r}" for name in self.needs.entity_keys)
        return f"the online store knows no {keys}"


def _by_entity(store: FeatureStore, needs: Needs) -> tuple[list[Any], list[Any]]:
    """Return copies of the projections that are keyed by the problem's entity alone, and of the others."""
    own: list[Any] = []
    others: list[Any] = []
    stored = {view.name for view in store.list_feature_views()}
    for projection in needs.reading.feature_view_projections:
        if projection.name not in stored:  # computed on demand
            continue
        columns = store.get_feature_view(projection.name).entity_columns
        keys = {projection.join_key_map.get(column.name, column.name) for column in columns}
        (own if keys == set(needs.entity_keys) else others).append(copy(projection))
    return own, others


def _service(needs: Needs, projections: list[Any]) -> FeatureService:
    service = copy(needs.reading)
    service.feature_view_projections = projections
    return service


def _with(features: list[Any], view: Any, name: str) -> list[Any]:
    """Return the features, and one more of the view unless it is among them."""
    there = {feature.name for feature in features}
    return [*features, *(feature for feature in view.features if feature.name == name and name not in there)]


def _nothing(views: list[ViewRows], count: int) -> set[int]:
    """Return the rows of which none of the views knows anything."""
    if any(view.present for view in views):
        return set()
    found = set(range(count))
    for view in views:
        found &= {i for i, status in enumerate(view.status) if status in NOTHING}
    return found
