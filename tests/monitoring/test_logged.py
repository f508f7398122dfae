"""The log is read by the problem's clock, whichever folder a part lies in, and a sample stays the same."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.model import Feature
from monitoring.freshness import missing_rates
from monitoring.logged import count_logged, logged
from monitoring.parts import parts
from tests.monitoring.log_world import LogWorld, at

EVER = (at(-1000), at(10_000))


@pytest.fixture
def world(log_world: LogWorld) -> LogWorld:
    """Give a log of three parts: the first of one model, the others of two, their folders not in the order of time."""
    for part, day in enumerate(["2030-01-02", "2030-01-01", "2030-01-02"]):
        log_world.log(
            *(
                {
                    "prediction_id": f"{part}-{n:03d}",
                    "predicted_at": at(part * 10 + n),
                    "model_version": "1" if part == 0 or n % 2 else "2",
                    "stale": ["customer_payments"] if n == 3 else [],
                    "schema_hash": f"schema {min(part, 1)}",
                    "features": {"hour": n, "region": None if n % 2 else "north"} if part else {"hour": None},
                }
                for n in range(10)
            ),
            day=day,
        )
    return log_world


def ids(table: pa.Table) -> list[str]:
    return table.column("prediction_id").to_pylist()


@pytest.mark.parametrize("version", [None, "1", "2", "3"])
@pytest.mark.parametrize(("since", "until"), [(0, 30), (5, 25), (10, 20), (10, 19.99), (9.5, 10), (-5, 0), (30, 99)])
def test_windows_are_half_open_on_the_problems_clock(
    world: LogWorld, since: float, until: float, version: str | None
) -> None:
    expected = {
        f"{part}-{n:03d}"
        for part in range(3)
        for n in range(10)
        if since <= part * 10 + n < until and version in (None, "1" if part == 0 or n % 2 else "2")
    }
    found = logged(world.repo, at(since), at(until), version=version)
    assert set(ids(found)) == expected
    assert count_logged(world.repo, at(since), at(until), version=version) == found.num_rows == len(expected)


@pytest.mark.parametrize("version", [None, "1", "2"])
@pytest.mark.parametrize(("since", "until"), [(-1000, 10_000), (35, 45), (40, 60)])
def test_what_ifs_are_left_out_and_old_parts_have_none(
    world: LogWorld, since: float, until: float, version: str | None
) -> None:
    def rows(part: int, tried: list[int]) -> list[dict[str, object]]:
        return [
            {
                "prediction_id": f"{part}-{n:03d}",
                "predicted_at": at(part * 10 + n),
                "model_version": "2" if n % 3 else "1",
                "features": {"hour": None if n in tried else n},
                "what_if": n in tried,
            }
            for n in range(10)
        ]

    tried = {3: [1, 4, 7], 4: list(range(10)), 5: []}
    for part, which in tried.items():
        world.log(*rows(part, which))
    world.log(*rows(6, []), old=True)
    assert [part.counted for part in parts(world.repo.layout, at(30))] == [7, 0, 10, 10]
    expected = {
        f"{part}-{n:03d}"
        for part, which in {**tried, 6: []}.items()
        for n in range(10)
        if n not in which and since <= part * 10 + n < until and version in (None, "2" if n % 3 else "1")
    }
    window = (at(max(since, 30)), at(until))
    found = logged(world.repo, *window, version=version, features=[Feature("hour", "numeric")])
    assert set(ids(found)) == expected
    assert found.column("hour").null_count == 0
    assert count_logged(world.repo, *window, version=version) == len(expected)
    assert set(ids(logged(world.repo, *window, version=version, rows=3))) <= expected
    assert missing_rates(world.repo, *window) == {"hour": 0.0}
    assert missing_rates(world.repo, at(40), at(50)) == {}


def test_an_index_of_before_who_asked_was_kept_is_made_anew(world: LogWorld) -> None:
    world.log({"prediction_id": "9", "predicted_at": at(500), "what_if": True, "actor": "bo"})
    found = parts(world.repo.layout)
    path = world.repo.layout.monitoring / "parts.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["served", "what_if", "actors"]), path)
    assert parts(world.repo.layout) == found
    assert sorted((part.what_if, part.actors) for part in found) == [*[(0, ("anna",))] * 3, (1, ("bo",))]


def test_features_have_the_types_of_the_model(world: LogWorld) -> None:
    features = [Feature("hour", "numeric"), Feature("region", "categorical"), Feature("unknown", "numeric")]
    found = logged(world.repo, at(8), at(12), features=features)
    assert [str(found.schema.field(f.name).type) for f in features] == ["double", "string", "double"]
    assert found.select(["hour", "region", "unknown"]).to_pylist() == [
        {"hour": 0.0, "region": "north", "unknown": None},
        {"hour": 1.0, "region": None, "unknown": None},
        {"hour": None, "region": None, "unknown": None},
        {"hour": None, "region": None, "unknown": None},
    ]
    empty = logged(world.repo, at(90), at(91), features=features)
    assert empty.schema == found.schema


def test_a_sample_is_the_same_each_time_and_grows_by_adding(world: LogWorld) -> None:
    small = ids(logged(world.repo, *EVER, rows=7))
    assert len(small) == len(set(small)) == 7
    assert ids(logged(world.repo, *EVER, rows=7)) == small
    assert set(small) < set(ids(logged(world.repo, *EVER, rows=20)))
    assert len(ids(logged(world.repo, *EVER, rows=1000))) == 30
    assert {name[0] for name in small} == {"0", "1", "2"}  # of all times


def test_a_part_that_comes_in_or_goes_is_seen(world: LogWorld) -> None:
    assert [part.version for part in parts(world.repo.layout)] == [None, "1", None]
    path = world.log({"prediction_id": "9", "predicted_at": at(500)})
    assert count_logged(world.repo, at(500), at(501)) == 1
    path.unlink()
    assert count_logged(world.repo, at(500), at(501)) == 0
    assert len(parts(world.repo.layout)) == 3


def test_footers_are_read_once(world: LogWorld) -> None:
    path = world.log({"prediction_id": "9", "predicted_at": at(500)})
    assert len(parts(world.repo.layout)) == 4
    path.write_bytes(b"no Parquet any more")
    (known,) = parts(world.repo.layout, at(500), at(501))
    assert (known.first, known.last, known.rows) == (at(500), at(500), 1)


def test_parts_outside_the_window_are_not_opened(world: LogWorld) -> None:
    path = world.log({"prediction_id": "9", "predicted_at": at(500)})
    assert count_logged(world.repo, *EVER) == 31
    path.write_bytes(b"no Parquet any more")
    assert logged(world.repo, at(0), at(30)).num_rows == 30


def test_an_unfinished_part_is_not_read(world: LogWorld) -> None:
    folder = world.repo.layout.predictions / "2030-01-01"
    (folder / ".x.parquet.1.tmp").write_bytes(b"half")
    (folder / ".x.parquet").write_bytes(b"half")
    assert count_logged(world.repo, *EVER) == 30


def test_missing_rates_count_where_the_model_asks(world: LogWorld) -> None:
    # The first part's model knows no region; its hour is always missing.
    assert missing_rates(world.repo, *EVER) == {"hour": pytest.approx(1 / 3), "region": pytest.approx(0.5)}
    assert missing_rates(world.repo, at(10), at(12)) == {"hour": 0.0, "region": 0.5}
    assert missing_rates(world.repo, at(90), at(91)) == {}
    assert missing_rates(world.repo, at(30), at(30) + timedelta(hours=1)) == {}


def test_without_a_log_nothing_was_predicted(log_world: LogWorld) -> None:
    assert count_logged(log_world.repo, *EVER) == 0
    assert logged(log_world.repo, *EVER, rows=5).num_rows == 0
    assert missing_rates(log_world.repo, *EVER) == {}
