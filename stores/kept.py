"""Rows that a process keeps until the online store says that they changed: Redis' server-assisted client-side caching.

The store remembers who was given which rows (``CLIENT TRACKING``), and says over the same connection when one of them
is written, deleted or evicted. What it says comes in the order of events: a change that was made before a read was
carried out is announced before that read's reply. So whoever has just had a reply over this connection may take the
rows that are kept for what the store holds: they are no older than that reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

Key = Any  # the value of a group's only join key, or a tuple of those of several
Row = tuple[Any, ...]
# Of these types, equal values are stored under one key, and different ones under different keys. Not so of others: True
# and 1.0 equal 1, and are no integer's key; the times of one second have one key.
_SAFE = frozenset((str, int, bytes, type(None)))
_CHANGEABLE = frozenset((list, dict, set))


class KeptGroup:
    """The rows of one key group.

    Attributes
    ----------
    rows : dict of key to tuple
        Values by key. What is no tuple stands for a row that is on its way.
    """

    __slots__ = ("_keys", "rows")

    def __init__(self) -> None:
        self.rows: dict[Key, Any] = {}
        self._keys: dict[bytes, Key] = {}  # by what they are called in the store

    def expect(self, key: Key, name: bytes, mark: object) -> None:
        """Note that a row is about to be asked for; it is kept only if nothing is heard of it until it is here."""
        self.rows[key] = mark
        self._keys[name] = key

    def keep(self, keys: Sequence[Key], rows: Sequence[Row], mark: object) -> None:
        """Keep what was expected under ``mark``, as far as it has not changed since.

        Rows with values that whoever gets them could change are not kept.
        """
        own = self.rows
        for key, row in zip(keys, rows, strict=True):
            if own.get(key) is mark and _CHANGEABLE.isdisjoint(map(type, row)):
                own[key] = row

    def forget(self, name: bytes) -> None:
        """Forget the row of that name."""
        key = self._keys.pop(name, None)
        if key is not None:
            self.rows.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self.rows.clear()
        self._keys.clear()


class Kept:
    """The rows of all key groups of a reader, as long as its connection lasts.

    Parameters
    ----------
    groups : int
        How many key groups there are.
    most : int
        How many rows are kept; when there are more, all are forgotten, and it starts anew.
    """

    def __init__(self, groups: int, most: int) -> None:
        self._groups = tuple(KeptGroup() for _ in range(groups))
        self._most = most
        self._active = False

    @property
    def size(self) -> int:
        """How many rows are kept or on their way."""
        return sum(len(group.rows) for group in self._groups)

    def group(self, number: int, columns: Iterable[Sequence[Any]]) -> KeptGroup | None:
        """Return what is kept of a group; None while nothing can be, or for keys that could be mistaken for others."""
        if self._active and _SAFE.issuperset(map(type, chain.from_iterable(columns))):
            return self._groups[number]
        return None

    def began(self) -> None:
        """Begin with nothing: the store has promised to say what changes."""
        self.ended()
        self._active = True

    def ended(self) -> None:
        """Forget all, and keep nothing more: what changes from now on is not heard of."""
        self._active = False
        self._clear()

    def changed(self, names: Sequence[bytes] | None) -> None:
        """Forget rows by what they are called in the store; None for all."""
        if names is None:
            self._clear()
            return
        for name in names:
            for group in self._groups:
                group.forget(name)

    def trim(self) -> None:
        """Forget all when there is too much."""
        if self.size > self._most:
            self._clear()

    def _clear(self) -> None:
        for group in self._groups:
            group.clear()
