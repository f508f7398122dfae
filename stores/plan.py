"""What an online read needs, worked out once: keys, hash fields, names, and how fresh each view promises to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from feast import FeatureService
from feast.errors import FeastObjectNotFoundException
from feast.value_type import ValueType

from core.errors import ConfigError
from core.problem import parse_duration
from stores.codec import field_name, timestamp_field
from stores.entities import DUMMY_KEY
from stores.keys import KeyEncoder
from stores.ledger import stored_name

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView

Policy = Literal["flag", "missing", "refuse"]
_MICROSECOND = timedelta(microseconds=1)
_EVER = 1 << 63  # microseconds: longer than anything can be stored
_Types = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Promise:
    """How old a view's values may be at read, and what happens to older ones.

    Attributes
    ----------
    age : timedelta or None
        Largest age that is fresh; ``None``: never stale.
    policy : {"flag", "missing", "refuse"}
        Serve and flag, treat as missing, or refuse the request.
    ttl : timedelta or None
        Past the view's ttl a value is missing whatever the policy: training has never seen such a value either.
    """

    age: timedelta | None
    policy: Policy
    ttl: timedelta | None

    @cached_property
    def fresh_us(self) -> int:
        """Return the largest age in microseconds that is fresh."""
        return _EVER if self.age is None else self.age // _MICROSECOND

    @cached_property
    def alive_us(self) -> int:
        """Return the largest age in microseconds within the ttl."""
        return _EVER if self.ttl is None else self.ttl // _MICROSECOND

    @classmethod
    def of(cls, view: FeatureView) -> Promise:
        """Read the view's tags ``freshness`` (default: its ttl) and ``stale`` (default: ``flag``).

        Raises
        ------
        ConfigError
            When a tag cannot be read.
        """
        tag, policy = view.tags.get("freshness"), view.tags.get("stale", "flag")
        if policy not in get_args(Policy):
            raise ConfigError(
                f"Feature view {view.name!r}: the tag stale={policy!r} is unknown.",
                hint=f"Use one of {', '.join(get_args(Policy))}.",
            )
        try:
            age = view.ttl if tag is None else None if tag == "none" else parse_duration(tag)
        except ValueError as error:
            raise ConfigError(f"Feature view {view.name!r}: the tag freshness: {error}.") from error
        return cls(age or None, cast("Policy", policy), view.ttl or None)


@dataclass(frozen=True)
class ViewPlan:
    """One feature view of a read.

    Attributes
    ----------
    name : str
        The view's name, or the alias under which the request names it.
    features : tuple of str
        Names of the result columns.
    start : int
        Where this view's values begin in the reply of its key group: features first, event time last.
    """

    name: str
    features: tuple[str, ...]
    start: int
    promise: Promise


@dataclass(frozen=True)
class KeyGroup:
    """Views that are stored under the same key: one command reads them all.

    Attributes
    ----------
    keys : tuple of str
        The columns of the request that hold the join keys, in the encoder's order.
    command : bytes
        The command that reads a row, with ``%d`` and ``%b`` where the key's length and the key go.
    """

    keys: tuple[str, ...]
    encoder: KeyEncoder
    views: tuple[ViewPlan, ...]
    command: bytes

    @property
    def width(self) -> int:
        """How many values a reply holds."""
        last = self.views[-1]
        return last.start + len(last.features) + 1

    def commands(self, columns: Sequence[Sequence[Any]]) -> tuple[list[bytes], list[bytes]]:
        """Return keys as they are stored, and the packed commands that read their rows; a column a join key.

        Raises
        ------
        TypeError, struct.error
            When a value is not of its join key's type.
        """
        stored = self.encoder.encode(columns)
        return stored, list(map(self.command.__mod__, zip(map(len, stored), stored, strict=True)))


def key_types(view: FeatureView) -> list[tuple[str, Any]]:
    """Return names and Feast value types of the view's join keys."""
    types = [(field.name, field.dtype.to_value_type()) for field in view.entity_columns]
    return types or [(DUMMY_KEY, ValueType.STRING)]


def _selected(store: FeatureStore, features: FeatureService | Sequence[str]) -> list[tuple[Any, list[str]]]:
    """Return (view with its projection, feature names); on-demand views are left to whoever runs them."""
    on_demand = {view.name for view in store.list_on_demand_feature_views()}
    if isinstance(features, FeatureService):
        return [
            (store.get_feature_view(p.name).with_projection(p), [f.name for f in p.features])
            for p in features.feature_view_projections
            if p.name not in on_demand
        ]
    wanted: dict[str, list[str]] = {}
    for reference in features:
        view, _, feature = reference.partition(":")
        if not feature:
            raise ConfigError(f"{reference!r} names no feature.", hint="Write <view>:<feature>.")
        if view not in on_demand:
            wanted.setdefault(view, []).append(feature)
    return [(store.get_feature_view(name), names) for name, names in wanted.items()]


def plan(
    store: FeatureStore, features: FeatureService | Sequence[str], *, full_feature_names: bool = False
) -> tuple[KeyGroup, ...]:
    """Work out how to read ``features``.

    Parameters
    ----------
    store : FeatureStore
        Where the views are registered.
    features : FeatureService or sequence of str
        What to read; references are ``<view>:<feature>``. On-demand views are passed over.
    full_feature_names : bool
        Name the columns ``<view>__<feature>``.

    Raises
    ------
    ConfigError
        When a view or feature is not registered, not online, or two columns would have the same name.
    """
    try:
        selected = _selected(store, features)
    except FeastObjectNotFoundException as error:
        raise ConfigError(f"{error}.", hint="Run: punctual apply") from error
    groups: dict[tuple[_Types, tuple[str, ...]], list[tuple[ViewPlan, list[bytes]]]] = {}
    seen: dict[str, str] = {}
    for view, names in selected:
        projection, stored = view.projection, stored_name(store.config, view)
        _check(view, names, seen, full_feature_names)
        types = sorted(key_types(view))
        columns = tuple(projection.join_key_map.get(name, name) for name, _ in types)
        members = groups.setdefault((tuple(types), columns), [])
        prefix = f"{projection.name_to_use()}__" if full_feature_names else ""
        members.append(
            (
                ViewPlan(
                    name=projection.name_to_use(),
                    features=tuple(prefix + name for name in names),
                    start=sum(len(fields) for _, fields in members),
                    promise=Promise.of(view),
                ),
                [*(field_name(stored, name) for name in names), timestamp_field(stored)],
            )
        )
    return tuple(_group(store.project, types, columns, members) for (types, columns), members in groups.items())


def _check(view: FeatureView, names: list[str], seen: dict[str, str], full_feature_names: bool) -> None:
    if not view.online:
        raise ConfigError(f"Feature view {view.name!r} is not online.", hint="Give it online=True, or leave it out.")
    known = {feature.name for feature in view.features}
    label = view.projection.name_to_use()
    for name in names:
        if name not in known:
            raise ConfigError(f"Feature view {view.name!r} has no feature {name!r}, only {sorted(known)}.")
        other = seen.setdefault(f"{label}__{name}" if full_feature_names else name, label)
        if other != label:
            raise ConfigError(
                f"The feature {name!r} is in both {other!r} and {label!r}.",
                hint="Rename one, or ask for full feature names.",
            )


def _group(
    project: str,
    types: _Types,
    columns: tuple[str, ...],
    members: list[tuple[ViewPlan, list[bytes]]],
) -> KeyGroup:
    fields = [field for _, own in members for field in own]
    packed = b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in fields)
    head = b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 2)
    command = head + b"$%d\r\n%b\r\n" + packed.replace(b"%", b"%%")
    return KeyGroup(columns, KeyEncoder(project, types), tuple(view for view, _ in members), command)
