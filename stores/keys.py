"""Redis keys of entities, as Feast makes them: the join keys, their values, and the project at the end."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from feast.value_type import ValueType

from stores.codec import by_dictionary, to_microseconds

_UINT32 = struct.Struct("<I")
_INTEGERS = {ValueType.INT32: "<i", ValueType.INT64: "<q", ValueType.UNIX_TIMESTAMP: "<q"}


class KeyEncoder:
    """Turns join key values into Redis keys: Feast's ``serialize_entity_key`` (version 3) and the project name.

    Parameters
    ----------
    project : str
        Feast project, the end of every key.
    join_keys : sequence of (str, ValueType)
        Names and types of the join keys: string, bytes, 32- or 64-bit integer, or UNIX timestamp.

    Attributes
    ----------
    names : tuple of str
        The join keys in the order in which :meth:`encode` wants their values (sorted by name).
    """

    def __init__(self, project: str, join_keys: Sequence[tuple[str, ValueType]]) -> None:
        ordered = sorted(join_keys)
        self.names = tuple(name for name, _ in ordered)
        self._project = project.encode()
        encoded = [name.encode() for name in self.names]
        string = _UINT32.pack(ValueType.STRING.value)
        self._head = _UINT32.pack(len(encoded)) + b"".join(string + _UINT32.pack(len(name)) + name for name in encoded)
        self._parts = [_key_part(value_type) for _, value_type in ordered]

    def encode(self, columns: Sequence[Sequence[Any]]) -> list[bytes]:
        """Return the Redis keys of entities, a column of values a join key.

        Raises
        ------
        TypeError, struct.error
            When a value is not of its join key's type.
        """
        return self._joined([map(part, column) for part, column in zip(self._parts, columns, strict=True)])

    def encode_columns(self, columns: Sequence[pa.Array]) -> list[bytes]:
        """Return the Redis keys of many entities, one column a join key, without nulls."""
        parts = [by_dictionary(column, part) for column, part in zip(columns, self._parts, strict=True)]
        return self._joined(parts)

    def _joined(self, parts: Sequence[Iterable[bytes]]) -> list[bytes]:
        head, project = self._head, self._project
        return [b"".join((head, *row, project)) for row in zip(*parts, strict=True)]


def _key_part(value_type: ValueType) -> Callable[[Any], bytes]:
    kind = _UINT32.pack(value_type.value)
    if value_type in _INTEGERS:
        pack = struct.Struct(_INTEGERS[value_type])
        head = kind + _UINT32.pack(pack.size)
        return lambda value: head + pack.pack(_seconds(value) if isinstance(value, datetime) else value)
    if value_type is ValueType.STRING:

        def text(value: str) -> bytes:
            raw = str.encode(value)
            return kind + _UINT32.pack(len(raw)) + raw

        return text
    if value_type is ValueType.BYTES:
        return lambda value: kind + _UINT32.pack(len(value)) + bytes(value)
    raise TypeError(f"Feast allows no join key of type {value_type.name}")


def _seconds(moment: datetime) -> int:
    return to_microseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC)) // 1_000_000
