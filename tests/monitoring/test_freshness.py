"""Ages are those of what is online, against what each view promises."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from core.errors import StoreUnavailable
from monitoring.freshness import freshness
from stores.connection import connect
from stores.registry import open_store
from tests.conftest import free_port
from tests.serving.world import World

MONTH = 30 * 24 * 3600.0


def newest(world: World, view: str, until: datetime) -> datetime:
    """Return the newest event time in a view's feature files, up to a moment."""
    files = f"{world.folder}/data/features/{view}/*.parquet"
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        query = f"SELECT max(event_timestamp) FROM read_parquet('{files}') WHERE event_timestamp <= ?"
        return con.execute(query, [until]).fetchall()[0][0]


def test_the_age_of_the_newest_fact_against_the_promise(served: World) -> None:
    now = served.repo.clock.now()
    for moment in (now, now - timedelta(days=20)):
        ages = {v: (moment - newest(served, v, moment)).total_seconds() for v in ("customer_payments", "loan_terms")}
        assert freshness(served.repo, moment) == [
            {
                "view": "customer_payments",
                "age_seconds": ages["customer_payments"],
                "promise_seconds": MONTH,
                "fresh": True,
            },
            {"view": "loan_terms", "age_seconds": ages["loan_terms"], "promise_seconds": None, "fresh": True},
        ]
    assert freshness(served.repo) == freshness(served.repo, now)


def test_a_promise_is_kept_to_the_last_second(served: World) -> None:
    last = newest(served, "customer_payments", served.repo.clock.now())
    in_time, late = (freshness(served.repo, last + timedelta(seconds=MONTH + more))[0] for more in (0, 1))
    assert (in_time["fresh"], late["fresh"], late["age_seconds"]) == (True, False, MONTH + 1)


def test_what_was_never_taken_in_is_not_fresh(served: World) -> None:
    client = connect(open_store(served.repo).config)
    client.flushall()
    found = freshness(served.repo)
    served.fill()
    assert [(one["age_seconds"], one["fresh"]) for one in found] == [(None, False)] * 2
    assert all(one["fresh"] for one in freshness(served.repo))


def test_a_store_that_is_away_is_said(served: World, tmp_path: Path) -> None:
    away = served.copy_to(tmp_path / "loans", port=free_port())
    with pytest.raises(StoreUnavailable, match="does not answer"):
        freshness(away.repo)
