"""Feast's Redis layout, byte for byte, without building protobuf messages for scalar values.

A row is a hash: its key names the entity (:mod:`stores.keys`), each feature is a field named by a 32-bit murmur hash
of ``<view>:<feature>`` and holding a serialized ``feast.types.Value``, and ``_ts:<view>`` holds the event time as a
``google.protobuf.Timestamp``. Feast's own protobuf code is the oracle of the tests, and the fallback here for lists,
maps, and columns whose type does not match the declared one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import (
    NULL_TIMESTAMP_INT_VALUE,
    feast_value_type_to_python_type,
    python_values_to_proto_values,
)
from feast.value_type import ValueType

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DOUBLE, _FLOAT, _UINT32 = struct.Struct("<d"), struct.Struct("<f"), struct.Struct("<I")
# Protobuf tags: (field number << 3) | wire type, of the fields of feast.types.Value.
_TAGS = {
    ValueType.BYTES: 0x0A,
    ValueType.STRING: 0x12,
    ValueType.INT32: 0x18,
    ValueType.INT64: 0x20,
    ValueType.DOUBLE: 0x29,
    ValueType.FLOAT: 0x35,
    ValueType.BOOL: 0x38,
    ValueType.UNIX_TIMESTAMP: 0x40,
}


def field_name(view: str, feature: str) -> bytes:
    """Return the hash field that holds ``feature`` of ``view``."""
    return _UINT32.pack(mmh3.hash(f"{view}:{feature}", signed=False))


def timestamp_field(view: str) -> bytes:
    """Return the hash field that holds the event time of ``view``'s row."""
    return f"_ts:{view}".encode()


def to_microseconds(moment: datetime) -> int:
    """Return whole microseconds since 1970 of a timezone-aware moment."""
    return (moment - EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the UTC moment that lies so many microseconds after 1970."""
    return EPOCH + timedelta(microseconds=microseconds)


def varint(number: int) -> bytes:
    """Return the protobuf varint of a signed 64-bit integer (negative ones take ten bytes)."""
    number &= 0xFFFFFFFFFFFFFFFF
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def varints(head: bytes, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> list[bytes]:
    """Return ``head`` and the varint of each number, for many numbers at once."""
    unsigned = np.ascontiguousarray(numbers, dtype=np.int64).view(np.uint64)[:, None]
    groups = unsigned >> np.arange(0, 70, 7, dtype=np.uint64)
    more = groups >= 128  # a further byte follows
    matrix = np.empty((len(numbers), 11), dtype=np.uint8)
    matrix[:, 0] = head[0]
    matrix[:, 1:] = groups & 127 | more.astype(np.uint64) << 7
    ends = np.cumsum(2 + more.sum(axis=1)).tolist()
    used = np.ones_like(matrix, dtype=bool)
    used[:, 2:] = more[:, :-1]
    flat = matrix[used].tobytes()
    return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _read_varint(raw: bytes, start: int) -> tuple[int, int]:
    number, shift, position = 0, 0, start
    while True:
        byte = raw[position]
        number |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return (number - (1 << 64) if number >= 1 << 63 else number), position
        shift += 7


def encode_timestamp(microseconds: int) -> bytes:
    """Return a serialized protobuf ``Timestamp``."""
    seconds, rest = divmod(microseconds, 1_000_000)
    whole = b"\x08" + varint(seconds) if seconds else b""
    return whole + b"\x10" + varint(rest * 1000) if rest else whole


def decode_timestamp(raw: bytes) -> int:
    """Return the microseconds since 1970 of a serialized protobuf ``Timestamp``; nanoseconds are cut off."""
    seconds, nanos, position = 0, 0, 0
    while position < len(raw):
        tag = raw[position]
        number, position = _read_varint(raw, position + 1)
        if tag == 0x08:
            seconds = number
        else:
            nanos = number
    return seconds * 1_000_000 + nanos // 1000


def encode_timestamps(column: pa.Array) -> list[bytes]:
    """Return the serialized ``Timestamp`` of each element of an int64 column of microseconds, without nulls."""
    seconds, rest = np.divmod(column.to_numpy(zero_copy_only=False), 1_000_000)
    out = varints(b"\x08", seconds)
    for index in np.flatnonzero((rest != 0) | (seconds == 0)):
        out[index] = encode_timestamp(int(seconds[index]) * 1_000_000 + int(rest[index]))
    return out


def encode_column(column: pa.Array, value_type: ValueType) -> list[bytes]:
    """Return the serialized ``Value`` of each element; nulls and NaN are empty, as Feast has it.

    Parameters
    ----------
    column : pyarrow.Array, shape (n,)
        Values as read from Parquet.
    value_type : ValueType
        The type that the feature view declares.
    """
    fast = _fast_column(column, value_type)
    if fast is not None:
        return fast
    protos = python_values_to_proto_values(column.to_numpy(zero_copy_only=False), value_type)
    return [proto.SerializeToString() for proto in protos]


def _fast_column(column: pa.Array, value_type: ValueType) -> list[bytes] | None:
    kind, types = column.type, pa.types
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    try:
        if value_type in (ValueType.DOUBLE, ValueType.FLOAT) and number:
            width = pa.float64() if value_type is ValueType.DOUBLE else pa.float32()
            return _encode_floats(column.cast(width), _TAGS[value_type])
        if value_type in (ValueType.INT64, ValueType.INT32) and number:
            if types.is_floating(kind):  # how pandas keeps integers with gaps
                column = pc.if_else(pc.is_nan(column), None, column)
            width = pa.int64() if value_type is ValueType.INT64 else pa.int32()
            return _encode_integers(column.cast(width), _TAGS[value_type])
        if value_type is ValueType.BOOL and types.is_boolean(kind):
            return _encode_integers(column, _TAGS[value_type])
        if value_type is ValueType.UNIX_TIMESTAMP and types.is_timestamp(kind):
            # What lies before 1970 rounds down, not towards zero.
            whole = pc.floor_temporal(column.cast(pa.timestamp(kind.unit)), unit="second")
            return _encode_integers(whole.cast(pa.timestamp("s")).cast(pa.int64()), _TAGS[value_type])
    except pa.ArrowInvalid:
        return None  # values that do not fit the declared type: Feast's own code decides what they become
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    raw = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    if (value_type is ValueType.STRING and text) or (value_type is ValueType.BYTES and raw):
        tag = bytes((_TAGS[value_type],))
        return by_dictionary(column.cast(pa.binary()), lambda body: tag + varint(len(body)) + body)
    return None


def by_dictionary(column: pa.Array, encode: Callable[[Any], bytes]) -> list[bytes]:
    """Encode each distinct value once, for most columns repeat few of them; nulls are empty."""
    coded = column.dictionary_encode()
    return _spread(coded.indices, [encode(value) for value in coded.dictionary.to_pylist()])


def _spread(indices: pa.Array, distinct: list[bytes]) -> list[bytes]:
    table = np.empty(len(distinct) + 1, dtype=object)
    table[:-1] = distinct
    table[-1] = b""  # index -1: null
    return list(table[indices.fill_null(-1).to_numpy(zero_copy_only=False)])


def _encode_integers(column: pa.Array, tag: int) -> list[bytes]:
    coded = column.dictionary_encode()
    distinct = coded.dictionary.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return _spread(coded.indices, varints(bytes((tag,)), distinct))


def _encode_floats(column: pa.Array, tag: int) -> list[bytes]:
    values = np.ascontiguousarray(column.to_numpy(zero_copy_only=False))
    width = values.dtype.itemsize
    matrix = np.empty((len(values), width + 1), dtype=np.uint8)
    matrix[:, 0] = tag
    matrix[:, 1:] = values.view(np.uint8).reshape(-1, width)
    out: list[bytes] = matrix.view(f"V{width + 1}").ravel().tolist()
    for index in np.flatnonzero(np.isnan(values)):  # nulls come out of Arrow as NaN
        out[index] = b""
    return out


def _decode_number(raw: bytes) -> int:
    if len(raw) == 2:
        return raw[1]
    return _read_varint(raw, 1)[0]


def _decode_body(raw: bytes) -> bytes:
    if raw[1] < 0x80:
        return raw[2:]
    return raw[_read_varint(raw, 1)[1] :]


def _decode_moment(raw: bytes) -> datetime | None:
    seconds = _decode_number(raw)
    return None if seconds == NULL_TIMESTAMP_INT_VALUE else EPOCH + timedelta(seconds=seconds)


_unpack_double, _unpack_float = _DOUBLE.unpack_from, _FLOAT.unpack_from
_DECODERS: dict[int, Callable[[bytes], Any]] = {
    _TAGS[ValueType.BYTES]: _decode_body,
    _TAGS[ValueType.STRING]: lambda raw: _decode_body(raw).decode(),
    _TAGS[ValueType.INT32]: _decode_number,
    _TAGS[ValueType.INT64]: _decode_number,
    _TAGS[ValueType.DOUBLE]: lambda raw: _unpack_double(raw, 1)[0],
    _TAGS[ValueType.FLOAT]: lambda raw: _unpack_float(raw, 1)[0],
    _TAGS[ValueType.BOOL]: lambda raw: raw[1] == 1,
    _TAGS[ValueType.UNIX_TIMESTAMP]: _decode_moment,
}


def _decode_message(raw: bytes) -> Any:
    return feast_value_type_to_python_type(Value.FromString(raw))


class Remembered(dict[_Key, _Value]):
    """What was worked out once, by what from; up to ``_MOST`` of it is kept, then it starts anew."""

    _MOST = 50_000

    def keep(self, key: _Key, value: _Value) -> _Value:
        """Keep a value, and return it."""
        if len(self) >= self._MOST:
            self.clear()
        self[key] = value
        return value


class Decoded(Remembered[bytes | None, Any]):
    """Stored value -> plain Python value, remembered: most features repeat few values.

    Short ones of the fast types are kept.
    """

    _LONGEST = 64

    def __missing__(self, raw: bytes | None) -> Any:
        value = decode(raw)
        if raw is None or (len(raw) <= self._LONGEST and (not raw or raw[0] in _DECODERS)):
            return self.keep(raw, value)
        return value


_decode_one = Decoded().__getitem__
_A_DOUBLE = frozenset((9,))  # bytes: a tag, and eight of the number


def decode_row(stored: Sequence[bytes | None]) -> list[Any]:
    """Return the plain Python values of stored ones of any types."""
    return list(map(_decode_one, stored))


def decode_column(stored: Sequence[bytes | None]) -> list[Any]:
    """Return the plain Python values of stored ones; doubles, which seldom repeat, all at once."""
    first = stored[0] if stored else None
    if first and first[0] == _TAGS[ValueType.DOUBLE] and None not in stored and set(map(len, stored)) == _A_DOUBLE:  # type: ignore[arg-type]
        joined = b"".join(stored)  # type: ignore[arg-type]
        if joined[::9] == first[:1] * len(stored):
            return list(struct.unpack("<" + "xd" * len(stored), joined))
    return decode_row(stored)


class Moments(Remembered[bytes | None, int | None]):
    """Stored ``Timestamp`` -> microseconds since 1970, remembered: rows are written in batches of one event time.

    What is not stored is None.
    """

    def __missing__(self, raw: bytes | None) -> int | None:
        return self.keep(raw, None if raw is None else decode_timestamp(raw))


def decode(raw: bytes | None) -> Any:
    """Return the plain Python value of a serialized ``Value``; ``None`` for a missing or null one.

    The tag in front says which type was stored, whatever the registry says now.
    """
    return _DECODERS.get(raw[0], _decode_message)(raw) if raw else None
