"""What one key group of an online read asks for, and what comes of it."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import InvalidRequest
from stores.codec import Moments, decode_column, decode_row
from stores.entities import DUMMY_KEY
from stores.kept import Kept, KeptGroup, Key, Row
from stores.plan import KeyGroup

_ALL_KEPT = frozenset((tuple,))
_DUMMY = ""  # the value of a view without entities
_TRACKED = b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n"  # the store tells of changes to what comes next
_moment = Moments().__getitem__


class GroupRead:
    """The keys of one group, of which some are asked for, and some are kept.

    Parameters
    ----------
    group : KeyGroup
    given : mapping of str to list, each of length n
        Join keys by name.
    count : int
        How many rows there are, n.
    kept, number : Kept, int
        Where rows are kept, if they are, and the group's number there.

    Attributes
    ----------
    payload, owed : bytes, int
        The commands, and how many replies they have.

    Raises
    ------
    InvalidRequest
        When a key has the wrong type.
    """

    __slots__ = ("_asked", "_kept", "_mark", "_rows", "_slots", "group", "owed", "payload")

    def __init__(
        self, group: KeyGroup, given: Mapping[str, list[Any]], count: int, kept: Kept | None = None, number: int = 0
    ) -> None:
        self.group, self.payload, self.owed = group, b"", 0
        self._asked: list[Key] = []
        self._mark = object()  # what stands for its rows until they are here; no more of it is held than that
        self._slots: list[int] | None = None  # which of the distinct keys each row wants; None: each its own
        columns = [given[name] for name in group.keys] if group.keys != (DUMMY_KEY,) else [[_DUMMY] * count]
        values: list[Key] = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        self._kept: KeptGroup | None = kept.group(number, columns) if kept is not None else None
        known: Mapping[Key, Any] = self._kept.rows if self._kept is not None else {}
        rows = list(map(known.get, values)) if known else []
        self._rows: list[Row | None] = rows  # None: asked for
        if not rows or not _ALL_KEPT.issuperset(map(type, rows)):
            self._ask(values, known)
            if kept is not None and self._kept is not None:
                kept.trim()

    def columns(self, replies: Sequence[Any]) -> list[list[Any]]:
        """Return the values of the n rows, a column a stored field; moments are microseconds since 1970."""
        if self._kept is None:
            columns = _decoded(self.group, replies)
            if self._slots is None:
                return columns
            return [list(map([*column, None].__getitem__, self._slots)) for column in columns]  # slot -1: no key
        rows: Sequence[Row | None] = self._rows
        if self._asked:
            fresh = list(zip(*_decoded(self.group, replies[1::2]), strict=True))
            self._kept.keep(self._asked, fresh, self._mark)
            rest = iter(fresh)
            rows = [row if row is not None else next(rest) for row in rows]
        if self._slots is not None:
            rows = list(map([*rows, (None,) * self.group.width].__getitem__, self._slots))
        return list(map(list, zip(*rows, strict=True))) if rows else [[] for _ in range(self.group.width)]

    def _ask(self, values: list[Key], known: Mapping[Key, Any]) -> None:
        """Ask for each distinct key that is not known; a key with a value that is None has no row."""
        try:
            distinct = dict.fromkeys(values)
        except TypeError as error:  # a list, say
            raise self._wrong(
                next(i for i, key in enumerate(values) if not _is_hashable(key)), values, error
            ) from error
        several = len(self.group.keys) > 1
        wanted = [key for key in distinct if (None not in key if several else key is not None)]
        self._asked, self._rows = wanted, [None] * len(wanted)
        if known:
            self._rows = [row if type(row) is tuple else None for row in map(known.get, wanted)]
            self._asked = [key for key, row in zip(wanted, self._rows, strict=True) if row is None]
        if len(wanted) != len(values):
            slots = dict(zip(wanted, range(len(wanted)), strict=True))
            self._slots = [slots.get(key, -1) for key in values]
        self._command(values)

    def _command(self, values: list[Key]) -> None:
        asked, kept = self._asked, self._kept
        try:
            names, commands = self.group.commands(self._by_join_key(asked))
        except (TypeError, struct.error):
            for key in asked:  # which of them is it?
                try:
                    self.group.commands(self._by_join_key([key]))
                except (TypeError, struct.error) as error:
                    raise self._wrong(values.index(key), values, error) from error
            raise
        if kept is None:
            self.payload, self.owed = b"".join(commands), len(commands)
            return
        for key, name in zip(asked, names, strict=True):
            kept.expect(key, name, self._mark)
        self.payload, self.owed = b"".join([_TRACKED + command for command in commands]), 2 * len(commands)

    def _by_join_key(self, keys: Sequence[Key]) -> Sequence[Sequence[Any]]:
        """Return the values of keys, a column a join key."""
        return [keys] if len(self.group.keys) == 1 else list(zip(*keys, strict=True)) or [()] * len(self.group.keys)

    def _wrong(self, index: int, values: list[Key], error: Exception) -> InvalidRequest:
        columns = self._by_join_key([values[index]])
        key = {name: value for name, (value,) in zip(self.group.keys, columns, strict=True)}
        return InvalidRequest(
            f"Entity {index}: {key!r} is not a key of {', '.join(view.name for view in self.group.views)}: {error}.",
            hint="Send keys of the type that the feature view declares.",
            entity=index,
        )


def _is_hashable(key: Key) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True


def _decoded(group: KeyGroup, replies: Sequence[list[Any]]) -> list[list[Any]]:
    """Return the stored values of each reply, a column a stored field."""
    width = group.width
    if not replies:
        return [[] for _ in range(width)]
    if len(replies) < width // len(group.views):  # a call for each row is fewer than one for each column
        return list(map(list, zip(*(_row(group, reply) for reply in replies), strict=True)))
    raw = list(zip(*replies, strict=True))
    columns: list[list[Any]] = []
    for view in group.views:
        stop = view.start + len(view.features)
        columns += map(decode_column, raw[view.start : stop])
        columns.append(list(map(_moment, raw[stop])))
    return columns


def _row(group: KeyGroup, reply: list[Any]) -> list[Any]:
    row: list[Any] = []
    for view in group.views:
        stop = view.start + len(view.features)
        row += decode_row(reply[view.start : stop])
        row.append(_moment(reply[stop]))
    return row
