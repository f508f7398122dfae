"""The search for ids: by any part of them, the newest first, and never for long."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from core.errors import NotFound, TooManyRequests
from core.repo import FeatureRepo
from core.settings import get_settings
from ingestion import entities
from ingestion.entities import find_ids
from stores.sql import no_longer_than
from tests.asgi import problem
from tests.conftest import free_port
from tests.ingestion.flow_world import World, world
from tests.ingestion.loans import Loans, ingest, window
from tests.ingestion.services import Others


@pytest.fixture(scope="module")
def loans_taken_in(tmp_path_factory: pytest.TempPathFactory) -> Loans:
    get_settings()
    return ingest(Loans.copy_to(tmp_path_factory.mktemp("entities") / "loans"), window(0, 60), window(60, 67))


@pytest.fixture(scope="module")
def data(loans_taken_in: Loans) -> Iterator[World]:
    with world(loans_taken_in, Others(port=free_port())) as running:
        yield running


def expected(loans: Loans, part: str) -> list[int]:
    """Return every id that contains a text, those of the newest window and moment first."""
    ids: dict[int, None] = {}
    for path in sorted((loans.folder / "data/features/loan_terms").glob("*.parquet"), reverse=True):
        newest = pd.read_parquet(path).groupby("loan_id", as_index=False)["event_timestamp"].max()
        ordered = newest.sort_values(["event_timestamp", "loan_id"], ascending=[False, True])
        ids.update(dict.fromkeys(int(one) for one in ordered["loan_id"] if part in str(one)))
    return list(ids)


@pytest.mark.parametrize("part", ["", "1", "59", "900", "5901", "12345678"])
def test_ids_are_found_by_any_part_the_newest_first(data: World, part: str):
    everything = expected(data.loans, part)
    found = data.api.get("/data/entities", params={"search": part, "limit": 50}).json()
    assert (found["view"], found["key"]) == ("loan_terms", "loan_id")
    assert found["ids"] == everything[:50]
    assert found["whole"] is (len(everything) <= 50)
    few = data.api.get("/data/entities", params={"search": part, "limit": 3}).json()
    assert few["ids"] == found["ids"][:3]


@pytest.mark.parametrize(
    "hostile",
    [
        "'; DROP TABLE x; --",
        "' OR '1'='1",
        "%",
        "_",
        "\\",
        "\x00",
        "é🙂",
        "\") FROM read_text('/etc/passwd') --",
        "{}",
        "$1",
        "?",
    ],
)
def test_what_is_searched_for_is_text(data: World, hostile: str):
    assert data.api.get("/data/entities", params={"search": hostile}).json()["ids"] == []


@pytest.mark.parametrize("asked", [{"limit": 0}, {"limit": 51}, {"limit": "x"}, {"search": "x" * 201}])
def test_what_is_out_of_bounds_is_refused(data: World, asked: dict[str, str]):
    problem(data.api.get("/data/entities", params=asked), 422)


def test_who_may_predict_may_search(data: World):
    for scope, status in (("predict", 200), ("read", 200), ("data", 200), ("train", 403)):
        headers = {"authorization": f"Bearer {data.keys[scope]}"}
        assert data.api.get("/data/entities", headers=headers).status_code == status
    problem(data.api.get("/data/entities", headers={"authorization": ""}), 401)


def test_an_id_of_two_windows_is_told_once(loans_taken_in: Loans, tmp_path: Path):
    shutil.copytree(loans_taken_in.folder, tmp_path / "loans", ignore=shutil.ignore_patterns("run", "secrets"))
    repo = FeatureRepo.load(tmp_path / "loans")
    folder = repo.layout.data / "features" / "loan_terms"
    older, newer = sorted(folder.glob("*.parquet"))
    before = find_ids(repo, "", 50)["ids"]
    shutil.copy(newer, folder / f"{newer.stem}-again.parquet")
    assert find_ids(repo, "", 50)["ids"] == before
    newer.unlink()
    (folder / f"{newer.stem}-again.parquet").unlink()
    assert set(find_ids(repo, "", 50)["ids"]).isdisjoint(before)
    older.unlink()
    with pytest.raises(NotFound, match="loan_terms"):
        find_ids(repo, "", 50)


def test_a_search_ends_in_time_with_what_it_has(loans_taken_in: Loans, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(entities, "_ROWS", -1)
    assert find_ids(loans_taken_in.repo, "59", 50) == {
        "view": "loan_terms",
        "key": "loan_id",
        "ids": [],
        "whole": False,
    }
    monkeypatch.undo()
    monkeypatch.setattr(entities, "_SECONDS", 0.0)
    monkeypatch.setattr(entities, "_AT_ONCE", threading.BoundedSemaphore(1))
    assert find_ids(loans_taken_in.repo, "59", 50)["whole"] is False


def test_a_query_that_takes_long_is_stopped():
    with duckdb.connect() as con, no_longer_than(con, 0.2):
        begun = time.monotonic()
        with pytest.raises(duckdb.InterruptException):
            con.execute("SELECT count(*) FROM range(100000000000) AS a").fetchall()
        assert time.monotonic() - begun < 5


def test_too_many_at_once_are_told_to_come_back(loans_taken_in: Loans, monkeypatch: pytest.MonkeyPatch):
    busy = threading.BoundedSemaphore(1)
    monkeypatch.setattr(entities, "_AT_ONCE", busy)
    monkeypatch.setattr(entities, "_SECONDS", 0.1)
    with busy:
        with pytest.raises(TooManyRequests):
            find_ids(loans_taken_in.repo, "", 5)


def test_where_no_view_is_keyed_by_the_entity_alone_it_says_so(loans_taken_in: Loans, monkeypatch: pytest.MonkeyPatch):
    targets = entities.feature_targets(loans_taken_in.repo)
    monkeypatch.setattr(entities, "feature_targets", lambda _: {"customer_payments": targets["customer_payments"]})
    with pytest.raises(NotFound, match="keyed by"):
        find_ids(loans_taken_in.repo, "", 5)
