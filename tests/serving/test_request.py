"""Reading a request: every type that a field may have, and what is said of a value that is of another."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.errors import BatchTooLarge, ConfigError, InvalidRequest
from core.repo import FeatureRepo
from serving.request import RequestReader
from serving.resolve import needs
from stores.registry import open_store
from tests.asgi import problem
from tests.serving.world import World, service

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def reader(orders_repo: FeatureRepo) -> RequestReader:
    return RequestReader(needs(orders_repo, open_store(orders_repo)), max_batch=3)


def read(reader: RequestReader, **fields: Any) -> dict[str, Any]:
    """Return one entity as it was read."""
    return reader.read(orjson.dumps({"entities": [{"order_id": "A", **fields}]})).entities[0]


@pytest.mark.parametrize(
    ("field", "sent", "got"),
    [
        ("order_id", "é\u4e2d", "é\u4e2d"),
        ("order_id", "", ""),
        ("shop_id", -(2**63), -(2**63)),
        ("shop_id", 2**63 - 1, 2**63 - 1),
        ("discount", 1, 1.0),
        ("shop_id", 7.0, 7),
        ("discount", -0.25, -0.25),
        ("express", True, True),
        ("ordered_at", "2024-06-01T12:00:00Z", NOON),
        ("ordered_at", "2024-06-01T14:00:00+02:00", NOON),
        ("ordered_at", "2024-06-01T12:00:00", NOON),
        ("ordered_at", "2024-06-01", NOON.replace(hour=0)),
        ("ordered_at", NOON.timestamp(), NOON),
        ("ordered_at", int(NOON.timestamp()), NOON),
    ],
)
def test_values_of_the_declared_type(reader: RequestReader, field: str, sent: Any, got: Any) -> None:
    value = read(reader, **{field: sent})[field]
    assert value == got
    assert type(value) is type(got)


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("order_id", 1),
        ("order_id", ["A"]),
        ("shop_id", "7"),
        ("shop_id", 7.5),
        ("shop_id", True),
        ("shop_id", 2**63),
        ("shop_id", 2**64 - 1),
        ("shop_id", 2.0**53 + 2),
        ("discount", "0.5"),
        ("discount", True),
        ("express", 1),
        ("express", "true"),
        ("ordered_at", "yesterday"),
        ("ordered_at", True),
        ("ordered_at", 1e300),
        ("ordered_at", "0001-01-01T00:00:00+14:00"),
        ("ordered_at", "9999-12-31T23:59:59-14:00"),
        ("ordered_at", {}),
    ],
)
def test_values_of_another_type(reader: RequestReader, field: str, sent: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"entity 0: {field} must be .*got") as caught:
        read(reader, **{field: sent})
    assert caught.value.context["errors"][0]["entity"] == 0


def test_a_number_that_fits_no_integer_is_not_rounded_to_one_that_does(reader: RequestReader) -> None:
    with pytest.raises(InvalidRequest, match="shop_id must be a whole number"):
        reader.read(b'{"entities": [{"order_id": "A", "shop_id": -9223372036854775809}]}')


def test_an_id_of_a_path_that_no_integer_holds_is_named(reader: RequestReader) -> None:
    with pytest.raises(InvalidRequest, match="shop_id must be a whole number of 64 bits, got -9223372036854775809"):
        reader.check({"order_id": "A", "shop_id": -(2**63) - 1})


def with_input(repo: FeatureRepo, folder: Path, kind: str) -> FeatureRepo:
    """Return a copy of the repo whose checkout has one more input."""

    def change(text: str) -> str:
        text = text.replace("types import Bool", "types import Array, Bool, Bytes")
        return text.replace("    schema=[\n", f'    schema=[\n        Field(name="more", dtype={kind}),\n')

    return World(repo.layout.repo, None).copy_to(folder, change=change).repo  # type: ignore[arg-type]


def test_an_array_is_checked_one_by_one(orders_repo: FeatureRepo, tmp_path: Path) -> None:
    sent: dict[str, tuple[list[Any], list[Any]]] = {
        "Float64": ([[], [1, 2.5]], [[[1.0]], [{"x": "y"}], {"x": "y"}, 1.0, ["1"], [None], [True]]),
        "Int64": ([[7], [7.0, -1]], [[7.5], ["7"], [2**63], [[7]]]),
        "String": ([["a", ""]], ["a", [1], [["a"]]]),
        "Bool": ([[True]], [[1]]),
        "UnixTimestamp": ([["2024-06-01T12:00:00Z"]], [["yesterday"], [[0]]]),
    }
    for kind, (good, bad) in sent.items():
        repo = with_input(orders_repo, tmp_path / kind, f"Array({kind})")
        reader = RequestReader(needs(repo, open_store(repo)), max_batch=3)
        for value in good:
            assert len(read(reader, more=value)["more"]) == len(value)
        for value in bad:
            with pytest.raises(InvalidRequest, match=r"entity 0: more must be a list.*got"):
                read(reader, more=value)


def test_what_a_request_can_hold_the_log_can_too(orders_repo: FeatureRepo, tmp_path: Path) -> None:
    repo = with_input(orders_repo, tmp_path / "arrays", "Array(Float64)")
    with service(repo) as api:
        deep = b'{"entities": [{"order_id": "A", "express": true, "discount": 0, "channel": "web", "more": %s}]}'
        problem(api.post("/predict", content=deep % (b"[" * 300 + b"]" * 300)), 422)
        made = api.post("/predict", content=deep % b"[1, 2]").json()["predictions"][0]
        assert api.get(f"/predictions/{made['prediction_id']}").json()["entity"]["more"] == [1.0, 2.0]
        body = api.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]
    entity = body["content"]["application/json"]["schema"]["properties"]["entities"]["items"]
    assert entity["properties"]["more"] == {"type": "array", "items": {"type": "number"}}


@pytest.mark.parametrize("kind", ["Bytes", "Array(Bytes)"])
def test_an_input_that_no_request_can_hold_is_refused_at_the_start(
    orders_repo: FeatureRepo, tmp_path: Path, kind: str
) -> None:
    repo = with_input(orders_repo, tmp_path / "orders", kind)
    with pytest.raises(ConfigError, match=r"more \("):
        service(repo)


def test_a_what_if_is_asked_for_in_so_many_words(reader: RequestReader) -> None:
    entities = [{"order_id": "A"}]
    assert reader.read(orjson.dumps({"entities": entities})) == (entities, False)
    assert reader.read(orjson.dumps({"entities": entities, "what_if": False})) == (entities, False)
    assert reader.read(orjson.dumps({"what_if": True, "entities": entities})) == (entities, True)
    for sent in (None, 1, 0, "true", [], {}):
        with pytest.raises(InvalidRequest, match="what_if must be true or false"):
            reader.read(orjson.dumps({"entities": entities, "what_if": sent}))


def test_null_counts_as_absent(reader: RequestReader) -> None:
    assert read(reader, shop_id=None, express=None) == {"order_id": "A"}


def test_a_long_or_deep_value_is_shown_short(reader: RequestReader) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    for value in ("x" * 100_000, deep, list(range(10_000)), {"a": {"b": "c" * 500}}):
        with pytest.raises(InvalidRequest) as caught:
            read(reader, shop_id=value)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("depth", [250, 300, 900, 990, 1010, 1020, 1030, 5000])
def test_nesting_of_any_depth_is_refused_in_words(reader: RequestReader, depth: int) -> None:
    body = b'{"entities": [{"order_id": ' + b"[" * depth + b"]" * depth + b"}]}"
    with pytest.raises(InvalidRequest):
        reader.read(body)
    with pytest.raises(InvalidRequest):
        reader.read(b'{"entities": [' + b"[" * depth + b"]" * depth + b"]}")


def test_limits(reader: RequestReader) -> None:
    many = [{"order_id": "A"}] * 4
    with pytest.raises(BatchTooLarge, match=r"4 entities .* 3.*PUNCTUAL_MAX_BATCH"):
        reader.read(orjson.dumps({"entities": many}))
    assert len(reader.read(orjson.dumps({"entities": many[:3]})).entities) == 3


def test_the_first_few_in_words_and_all_in_the_list(orders_repo: FeatureRepo) -> None:
    reader = RequestReader(needs(orders_repo, open_store(orders_repo)), max_batch=100)
    with pytest.raises(InvalidRequest) as caught:
        reader.read(orjson.dumps({"entities": [{"shop_id": 1}] * 50}))
    assert "47 more" in caught.value.message
    assert [e["entity"] for e in caught.value.context["errors"]] == list(range(50))
