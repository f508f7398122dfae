"""Our bytes against Feast's own: hypothesis draws the values, the protobuf library judges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import _mmh3
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Int64List, Value
from feast.type_map import feast_value_type_to_python_type
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from stores.codec import (
    decode,
    decode_timestamp,
    encode_column,
    encode_timestamp,
    encode_timestamps,
    field_name,
    from_microseconds,
    to_microseconds,
    varint,
    varints,
)
from stores.keys import KeyEncoder

INT64 = st.integers(-(2**63), 2**63 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
FLOAT32 = st.floats(width=32, allow_nan=False)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))

SCALARS: list[tuple[ValueType, str, st.SearchStrategy[Any], pa.DataType]] = [
    (ValueType.STRING, "string_val", st.text(), pa.string()),
    (ValueType.BYTES, "bytes_val", st.binary(max_size=300), pa.binary()),
    (ValueType.INT64, "int64_val", INT64, pa.int64()),
    (ValueType.INT32, "int32_val", INT32, pa.int32()),
    (ValueType.DOUBLE, "double_val", st.floats(allow_nan=False), pa.float64()),
    (ValueType.FLOAT, "float_val", FLOAT32, pa.float32()),
    (ValueType.BOOL, "bool_val", st.booleans(), pa.bool_()),
]


@pytest.mark.parametrize(("value_type", "attribute", "values", "kind"), SCALARS, ids=[s[1] for s in SCALARS])
def test_a_column_is_what_protobuf_writes(
    value_type: ValueType, attribute: str, values: st.SearchStrategy[Any], kind: pa.DataType
) -> None:
    @given(st.lists(st.none() | values, max_size=20))
    def check(column: list[Any]) -> None:
        wanted = [b"" if v is None else Value(**{attribute: v}).SerializeToString() for v in column]
        encoded = encode_column(pa.array(column, kind), value_type)
        assert encoded == wanted
        assert [decode(raw) for raw in encoded] == [
            feast_value_type_to_python_type(Value.FromString(raw)) for raw in encoded
        ]

    check()


@given(st.lists(st.none() | MOMENTS, max_size=20))
def test_a_unix_timestamp_is_whole_seconds_rounded_down(column: list[datetime | None]) -> None:
    encoded = encode_column(pa.array(column, pa.timestamp("us", tz="UTC")), ValueType.UNIX_TIMESTAMP)
    seconds = [None if v is None else to_microseconds(v) // 1_000_000 for v in column]
    assert encoded == [b"" if s is None else Value(unix_timestamp_val=s).SerializeToString() for s in seconds]
    assert [decode(raw) for raw in encoded] == [None if v is None else v.replace(microsecond=0) for v in column]


@given(st.lists(st.integers(-(2**53), 2**53), max_size=20))
def test_event_times_are_protobuf_timestamps(stamps: list[int]) -> None:
    wanted = []
    for us in stamps:
        proto = Timestamp(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1000)
        wanted.append(proto.SerializeToString())
    assert encode_timestamps(pa.array(stamps, pa.int64())) == wanted == [encode_timestamp(us) for us in stamps]
    assert [decode_timestamp(raw) for raw in wanted] == stamps


@given(MOMENTS)
def test_microseconds_lead_back_to_the_moment(moment: datetime) -> None:
    assert from_microseconds(to_microseconds(moment)) == moment


@given(st.lists(INT64, max_size=20))
def test_many_varints_are_the_single_ones(numbers: list[int]) -> None:
    assert varints(b"\x20", np.array(numbers, np.int64)) == [b"\x20" + varint(n) for n in numbers]


def test_nan_is_null_and_minus_zero_keeps_its_sign() -> None:
    encoded = encode_column(pa.array([float("nan"), -0.0, None]), ValueType.DOUBLE)
    assert encoded == [b"", Value(double_val=-0.0).SerializeToString(), b""]


@pytest.mark.parametrize(
    ("column", "value_type", "wanted"),
    [
        (pa.array([1.0, None, float("nan")]), ValueType.INT64, [1, None, None]),
        (pa.array([2**53 + 1, None]), ValueType.INT64, [2**53 + 1, None]),
        (pa.array([1, 2], pa.int8()), ValueType.DOUBLE, [1.0, 2.0]),
        (pa.array([[1, 2], None, []], pa.list_(pa.int64())), ValueType.INT64_LIST, [[1, 2], None, None]),
        (pa.array(["a", None], pa.large_string()), ValueType.STRING, ["a", None]),
        (pa.array([7, 8], pa.uint64()), ValueType.INT32, [7, 8]),
    ],
)
def test_columns_of_another_type_take_the_declared_one(column: Any, value_type: ValueType, wanted: list[Any]) -> None:
    decoded = [decode(raw) for raw in encode_column(column, value_type)]
    assert [None if v == [] else v for v in decoded] == wanted


def test_lists_are_read_by_protobuf() -> None:
    raw = Value(int64_list_val=Int64List(val=[1, -1])).SerializeToString()
    assert decode(raw) == [1, -1]
    assert decode(None) is None
    assert decode(b"") is None


@given(st.text(min_size=1), st.text(min_size=1))
def test_field_names_are_feasts(view: str, feature: str) -> None:
    assert field_name(view, feature) == _mmh3(f"{view}:{feature}")


@given(st.lists(st.tuples(st.text(), INT64, INT32, st.binary()), min_size=1, max_size=5))
def test_keys_are_feasts_whatever_the_order_of_join_keys(rows: list[tuple[str, int, int, bytes]]) -> None:
    names = [
        ("text", ValueType.STRING),
        ("big", ValueType.INT64),
        ("small", ValueType.INT32),
        ("raw", ValueType.BYTES),
    ]
    encoder = KeyEncoder("projekt", names)
    attributes = ["string_val", "int64_val", "int32_val", "bytes_val"]
    wanted = [
        serialize_entity_key(
            EntityKey(
                join_keys=[name for name, _ in names],
                entity_values=[Value(**{a: v}) for a, v in zip(attributes, row, strict=True)],
            ),
            3,
        )
        + b"projekt"
        for row in rows
    ]
    by_name = [dict(zip([n for n, _ in names], row, strict=True)) for row in rows]
    assert encoder.encode([[row[name] for row in by_name] for name in encoder.names]) == wanted
    kinds = {"text": pa.string(), "big": pa.int64(), "small": pa.int32(), "raw": pa.binary()}
    columns = [pa.array([row[name] for row in by_name], kinds[name]) for name in encoder.names]
    assert encoder.encode_columns(columns) == wanted


def test_a_moment_may_be_a_key() -> None:
    encoder = KeyEncoder("p", [("at", ValueType.UNIX_TIMESTAMP)])
    moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=5)
    proto = EntityKey(join_keys=["at"], entity_values=[Value(unix_timestamp_val=int(moment.timestamp()))])
    assert encoder.encode([[moment]])[0] == serialize_entity_key(proto, 3) + b"p"
    assert encoder.encode_columns([pa.array([moment], pa.timestamp("us", tz="UTC"))]) == encoder.encode([[moment]])


def test_a_key_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="DOUBLE"):
        KeyEncoder("p", [("x", ValueType.DOUBLE)])
