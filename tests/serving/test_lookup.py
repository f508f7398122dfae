"""What an entity stands for is filled in from a view that carries it, whether or not the service has that view."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis

from serving.lookup import Lookup
from serving.resolve import needs
from stores.examples import recent_entities
from stores.registry import open_store
from stores.rows import Status
from tests.serving.world import World

APART = ('loan_terms[["region", "hour"]], customer_payments', "customer_payments")


@pytest.fixture(params=["with its features", "by itself"])
def place(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> World:
    """Give a world whose service has the view that carries the keys, or has not."""
    if request.param == "with its features":
        return world
    return world.copy_to(tmp_path / "loans", change=lambda text: text.replace(*APART))


Looked = tuple[dict[str, list[Any]], list[dict[str, Any]], dict[int, str]]


def look(world: World, entities: list[dict[str, Any]]) -> Looked:
    """Return the columns, the rows as they were filled in, and what is not known."""
    repo, store = world.repo, open_store(world.repo)
    now, lookup = repo.clock.now(), Lookup(store, needs(repo, store))

    async def read() -> Looked:
        given = lookup.given(entities)
        known = await lookup.begin(given, now)
        unknown = lookup.fill(given, known)
        online = await lookup.finish(given, known, now)
        assert [plan.name for plan in lookup.plans] == list(online.views)
        assert set(online.columns) == {name for plan in lookup.plans for name in plan.features}
        assert online.views["customer_payments"].status[-1] is Status.NOT_FOUND
        lookup.close()
        rows = [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]
        return lookup.columns(given, online), rows, unknown

    return asyncio.run(read())


def test_what_was_not_sent_is_filled_in_and_what_was_sent_stays(place: World) -> None:
    first, second = recent_entities(place.repo, 2)
    sent = {"customer_id": -7, "amount": 500.0}
    columns, rows, unknown = look(
        place, [first, dict(second), {**second, "amount": 1.0}, {"loan_id": -1}, first | sent]
    )
    assert list(unknown) == [3]
    assert rows[0].keys() == {"loan_id", "customer_id", "amount"}
    assert rows[2] == {**rows[1], "amount": 1.0}
    assert rows[3] == {"loan_id": -1, "customer_id": None, "amount": None}
    assert rows[4] == first | sent
    assert columns["amount_thousands"] == [None if row["amount"] is None else row["amount"] / 1000 for row in rows]
    assert columns["payments_30d"][1] == columns["payments_30d"][2]
    assert columns["payments_30d"][3] is columns["payments_30d"][4] is None


def test_nothing_is_looked_up_for_whoever_sent_everything(place: World) -> None:
    (first,) = recent_entities(place.repo, 1)
    sent = {"customer_id": -7, "amount": 500.0}
    _, rows, unknown = look(place, [first | sent, {"loan_id": -1} | sent])
    assert unknown == {}
    assert rows == [first | sent, {"loan_id": -1} | sent]


def test_rows_of_other_keys_are_kept_until_they_change(own_world: World) -> None:
    """A hundred predictions of the same entity ask for its own row alone, and see what has become of the others."""
    own_world.fill()
    repo, store = own_world.repo, open_store(own_world.repo)
    (entity,) = recent_entities(repo, 1)
    now, lookup = repo.clock.now(), Lookup(store, needs(repo, store), keep=100)
    client = redis.Redis(port=own_world.server.port)

    def asked() -> int:
        return int(client.info("commandstats")["cmdstat_hmget"]["calls"])

    async def predict() -> dict[str, list[Any]]:
        given = lookup.given([entity])
        known = await lookup.begin(given, now)
        assert lookup.fill(given, known) == {}
        return (await lookup.finish(given, known, now)).columns

    async def story() -> None:
        first = await predict()
        before = asked()
        for _ in range(100):
            assert await predict() == first
        assert asked() - before == 100
        for key in client.scan_iter():
            if b"customer_id" in key:
                client.delete(key)
        gone = await predict()
        assert gone["payments_30d"] == [None] != first["payments_30d"]
        assert {name: gone[name] for name in ("region", "hour")} == {name: first[name] for name in ("region", "hour")}
        lookup.close()

    asyncio.run(story())
