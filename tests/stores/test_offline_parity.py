"""Random small tables: our store, Feast's own DuckDB store and a brute-force oracle must give the same values."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.stores.repo import OURS, OURS_WITHOUT_KNOWLEDGE_TIME, STOCK, at, open_repo
from tests.stores.world import (
    KEYS,
    SCHEMAS,
    Stores,
    any_number_of,
    crowded_row,
    definitions,
    entity_rows,
    expected,
    frame,
    retrieve,
    tables,
    without_weather,
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    folder = tmp_path_factory.mktemp("parity")
    opened = [open_repo(folder, kind) for kind in (OURS, OURS_WITHOUT_KNOWLEDGE_TIME, STOCK)]
    opened[0].apply(definitions(folder))
    return Stores(folder, *opened)


@any_number_of(15)
@given(written=tables(), entities=entity_rows())
def test_knowledge_time_agrees_with_the_oracle(
    stores: Stores, written: dict[str, list[dict[str, Any]]], entities: list[dict[str, Any]]
) -> None:
    stores.write(written)

    assert retrieve(stores.ours, entities) == expected(entities, written, knowledge_time=True)


@pytest.mark.slow
@any_number_of(150)
@given(written=tables(), entities=entity_rows(), knowledge_time=st.booleans())
def test_many_more_tables_agree_with_the_oracle(
    stores: Stores, written: dict[str, list[dict[str, Any]]], entities: list[dict[str, Any]], knowledge_time: bool
) -> None:
    stores.write(written)
    ours = stores.ours if knowledge_time else stores.ours_without

    assert retrieve(ours, entities) == expected(entities, written, knowledge_time=knowledge_time)


@any_number_of(8)
@given(written=tables(unstamped=True), entities=entity_rows())
def test_rows_that_were_never_stamped_are_known_from_their_event_on(
    stores: Stores, written: dict[str, list[dict[str, Any]]], entities: list[dict[str, Any]]
) -> None:
    stores.write(written)

    assert retrieve(stores.ours, entities) == expected(entities, written, knowledge_time=True)


@any_number_of(8)
@given(written=tables(), entities=entity_rows())
def test_without_knowledge_time_agrees_with_the_oracle(
    stores: Stores, written: dict[str, list[dict[str, Any]]], entities: list[dict[str, Any]]
) -> None:
    stores.write(written)

    assert retrieve(stores.ours_without, entities) == expected(entities, written, knowledge_time=False)


@pytest.mark.slow
@any_number_of(30)
@given(written=tables(), entities=entity_rows(), knowledge_time=st.booleans())
def test_agrees_with_feasts_own_store_where_that_is_defined(
    stores: Stores,
    written: dict[str, list[dict[str, Any]]],
    entities: list[dict[str, Any]],
    knowledge_time: bool,
) -> None:
    # Which of two rows with equal key, event and created time counts, Feast leaves open.
    for name, rows in written.items():
        stamps = [(*(r[k] for k in KEYS[name]), r["event_timestamp"], r["created_timestamp"]) for r in rows]
        assume(len(set(stamps)) == len(stamps))
    stores.write(written)
    ours = stores.ours if knowledge_time else stores.ours_without

    stock = retrieve(stores.stock, entities, "common", filter_by_created_timestamp=knowledge_time)

    assert without_weather(retrieve(ours, entities)) == stock


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("knowledge_time", [True, False])
def test_crowded_tables_agree_with_the_oracle(stores: Stores, seed: int, knowledge_time: bool) -> None:
    """Hundreds of rows on few moments: DuckDB joins more than 64 entity rows by another algorithm."""
    rng = random.Random(seed)
    written = {name: [crowded_row(rng, name) for _ in range(300)] for name in SCHEMAS}
    entities = [
        {
            "user": rng.choice([None, 1, 2, 3, 4]),
            "friend": rng.choice([1, 2, 3]),
            "shop": rng.choice(["a", "b", "c"]),
            "event_timestamp": at(rng.randint(0, 20)) + timedelta(microseconds=rng.randint(-1, 1)),
        }
        for _ in range(200)
    ]
    stores.write(written)
    ours = stores.ours if knowledge_time else stores.ours_without

    assert retrieve(ours, entities) == expected(entities, written, knowledge_time=knowledge_time)


@any_number_of(4)
@given(written=tables(), entities=entity_rows())
def test_feasts_flag_turns_knowledge_time_on(
    stores: Stores, written: dict[str, list[dict[str, Any]]], entities: list[dict[str, Any]]
) -> None:
    stores.write(written)

    flagged = retrieve(stores.ours_without, entities, filter_by_created_timestamp=True)

    assert flagged == retrieve(stores.ours, entities)


@any_number_of(3)
@given(written=tables(), entities=entity_rows())
def test_the_same_input_gives_the_same_bytes(
    stores: Stores, written: dict[str, list[dict[str, Any]]], entities: list[dict[str, Any]]
) -> None:
    stores.write(written)
    service = stores.ours.get_feature_service("all")

    first, second = (
        stores.ours.get_historical_features(frame(entities), service, full_feature_names=True).to_arrow()
        for _ in range(2)
    )

    assert first.equals(second)
    assert first.schema.equals(second.schema)


@any_number_of(3)
@given(written=tables(), entities=entity_rows())
def test_short_and_full_names_carry_the_same_values(
    stores: Stores, written: dict[str, list[dict[str, Any]]], entities: list[dict[str, Any]]
) -> None:
    stores.write(written)
    wanted = ["visits:visits", "balance:amount", "weather:rain"]

    short = stores.ours.get_historical_features(frame(entities), wanted).to_arrow()
    full = stores.ours.get_historical_features(frame(entities), wanted, full_feature_names=True).to_arrow()

    for reference in wanted:
        assert short[reference.partition(":")[2]].equals(full[reference.replace(":", "__")])
    assert short.column_names[: len(frame(entities).columns)] == list(frame(entities).columns)
