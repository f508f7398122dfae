"""What the model will see of some entities: join keys that were not sent, stored features, on-demand features."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.errors import DataError, PunctualError, StoreUnavailable
from serving import on_demand
from stores.plan import plan
from stores.reader import OnlineReader
from stores.rows import OnlineRows, Status, ViewRows
from stores.wire import AsyncWire

if TYPE_CHECKING:
    from feast import FeatureService, FeatureStore

    from serving.request import Entity
    from serving.resolve import Needs

_MOST_SAID = 200  # characters of an error that a feature repo's own code raised
_OURS = (type(None), PunctualError, NameError, ImportError)  # what no input makes of a view
NOTHING = (Status.NOT_FOUND, Status.FUTURE)
Bad = dict[int, str]  # row -> what is wrong with it
Given = dict[str, list[Any]]  # every field that a client may send -> its values, None where it was not sent


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
    must_be_sent : list of str
        What a client has to send besides the entity's key: no view of the entity carries it.
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
        self.must_be_sent = [n for n in needs.types if n not in carried and n not in needs.entity_keys]
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

    def given(self, entities: Sequence[Entity]) -> Given:
        """Return what was sent of each entity, by field."""
        return {name: [entity.get(name) for entity in entities] for name in self.needs.types}

    async def begin(self, given: Given, now: datetime, *, refuse: bool = True) -> Known:
        """Read what is stored under the entity alone.

        Parameters
        ----------
        given : dict of str to list, each of length n
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
        count, lacking = _count(given), _lacking([given[name] for name in self.needs.lookups])
        own = await self._own.read(given, count, now, refuse=refuse) if self._own else OnlineRows({}, {}, now)
        if self._keys is None or not lacking:
            return Known(own, own, lacking)
        # A row that lacks nothing is read without keys: positions stay those of the rows.
        keys = await self._keys.read(only(given, lacking), count, now, refuse=refuse)
        return Known(own, OnlineRows(own.columns | keys.columns, own.views | keys.views, now), lacking)

    def fill(self, given: Given, known: Known) -> Bad:
        """Fill in what the entities stand for; a value that was sent stays.

        Returns
        -------
        unknown : dict of int to str
            The rows that lack something, and that no view which carries it knows.
        """
        if not known.lacking:
            return {}
        for name, feature in self._carried:
            sent, carried = given[name], known.carried.columns[feature]
            if sent.count(None) == len(sent):
                given[name] = carried
            else:
                given[name] = [one if one is not None else other for one, other in zip(sent, carried, strict=True)]
        nothing = _nothing([known.carried.views[view] for view in self._carrying])
        return {i: self._unknown(given, i) for i in sorted(known.lacking & nothing)}

    async def finish(self, given: Given, known: Known, now: datetime, *, refuse: bool = True) -> OnlineRows:
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
            kept = self._own is not None
            others = await self._others.read(given, _count(given), now, refuse=refuse, kept=kept)
            columns |= others.columns
            views |= others.views
        return OnlineRows(columns, views, now)

    def incomplete(self, given: Given) -> Bad:
        """Return the rows that lack a join key or an input which no view carries."""
        lacking = {name: given[name] for name in self.must_be_sent if None in given[name]}
        bad: Bad = {}
        for i in sorted(_lacking(list(lacking.values()))):
            absent = ", ".join(name for name, values in lacking.items() if values[i] is None)
            bad[i] = f"{absent} must be sent: no feature view of the entity carries it"
        return bad

    def unknown(self, given: Given, known: Known) -> Bad:
        """Return the rows of which no view of the service knows anything, where nothing was looked up for them."""
        if not self._own_views:
            return {}
        nothing = _nothing([known.own.views[name] for name in self._own_views])
        return {i: self._unknown(given, i) for i in sorted(nothing - known.lacking)}

    def columns(self, given: Given, online: OnlineRows) -> dict[str, list[Any]]:
        """Return everything a model may ask for, by name: stored, sent, and computed on demand."""
        # Copies: a view may write into what it is given, or have an output of an input's name.
        columns = online.columns | {name: list(values) for name, values in given.items()}
        for view in self.needs.on_demand:
            columns |= on_demand.run(view, columns, _count(given))
        return columns

    def unfit(self, given: Given, online: OnlineRows, sent: Mapping[int, Entity]) -> Bad:
        """Return the rows of which an on-demand view that fails was sent inputs: each is computed by itself.

        Parameters
        ----------
        given, online
            As for :meth:`columns`, which failed.
        sent : mapping of int to dict
            Row -> what the client sent of it. A row of which a view's inputs come from the store alone is not the
            client's to mend.
        """
        bad: Bad = {}
        for i, entity in sent.items():
            columns = {name: [values[i]] for name, values in (online.columns | given).items()}
            for view in self.needs.on_demand:
                try:
                    columns |= on_demand.run(view, columns, 1)
                except DataError as error:
                    names, cause = [n for n in view.get_request_data_schema() if n in entity], error.__cause__
                    if names and not isinstance(cause, _OURS):
                        why = f"{type(cause).__name__}: {cause}"[:_MOST_SAID]
                        bad[i] = f"the on-demand feature view {view.name} cannot use {', '.join(names)}: {why}"
                    break
        return bad

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    def _unknown(self, given: Given, row: int) -> str:
        keys = ", ".join(f"{name} {given[name][row]!r}" for name in self.needs.entity_keys)
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


def only(given: Given, rows: Collection[int]) -> Given:
    """Return the same columns, None in all other rows."""
    if len(rows) == _count(given):
        return given
    return {name: [value if i in rows else None for i, value in enumerate(values)] for name, values in given.items()}


def _count(given: Given) -> int:
    """Return how many rows there are; the entity's key at least is among the columns."""
    return len(next(iter(given.values())))


def _lacking(columns: list[list[Any]]) -> set[int]:
    """Return the rows that are None in some column."""
    found: set[int] = set()
    for column in columns:
        if None in column:
            found.update(i for i, value in enumerate(column) if value is None)
    return found


def _nothing(views: list[ViewRows]) -> set[int]:
    """Return the rows of which none of the views, one or more, knows anything."""
    if any(view.present for view in views):
        return set()
    return set.intersection(*({i for i, status in enumerate(view.status) if status in NOTHING} for view in views))
