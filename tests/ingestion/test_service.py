"""The data service over HTTP: what it shows, what it starts, what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from core.settings import Settings, get_settings
from ingestion.service import build_app
from tests.asgi import Api, problem
from tests.conftest import free_port
from tests.core.keys import keyring
from tests.ingestion.flow_world import World, world
from tests.ingestion.loans import Loans, ingest, window
from tests.ingestion.services import Others

pytestmark = pytest.mark.slow


@pytest.fixture
def data(loans) -> Iterator[World]:
    """The service after two windows, with no other service anywhere."""
    with after_two_windows(loans) as running:
        yield running


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same, for tests that start nothing."""
    get_settings()
    with after_two_windows(Loans.copy_to(tmp_path_factory.mktemp("quiet") / "loans")) as running:
        yield running


@contextmanager
def after_two_windows(loans: Loans) -> Iterator[World]:
    ingest(loans, window(0, 60), window(60, 67))
    with world(loans, Others(port=free_port())) as running:
        yield running


def test_it_is_ready_with_the_others_away_and_says_what_is(loans):
    with world(loans, Others(port=free_port()), redis=f"127.0.0.1:{free_port()}") as data:
        health = data.api.get("/health")
        assert health.status_code == 200
        found = health.json()["dependencies"]
        assert set(found) == {"database", "jobs", "raw_data", "online_store"}
        assert found["raw_data"]["status"] == "degraded"
        assert found["jobs"]["here"] is True
        assert data.api.get("/data/versions").json() == {"versions": []}
        assert data.api.get("/data/reports").json() == {"reports": []}


def test_previews_of_every_layer(quiet: World):
    raw = quiet.api.get("/data/preview", params={"table": "loans", "limit": 3}).json()
    assert raw["total"] == 1340
    assert len(raw["rows"]) == 3
    assert set(raw["columns"]) == {"loan_id", "customer_id", "amount", "region", "known_at"}
    assert all(row["known_at"] >= "2024-03-01" for row in raw["rows"])  # the newest window first
    two = quiet.api.get("/data/preview", params={"table": "loans", "layer": "valid", "columns": ["region", "loan_id"]})
    assert list(two.json()["rows"][0]) == ["region", "loan_id"]
    features = quiet.api.get("/data/preview", params={"table": "loan_terms", "layer": "features"}).json()
    assert "event_timestamp" in features["columns"]
    bad = quiet.api.get("/data/preview", params={"table": "loans", "layer": "quarantine"}).json()
    assert (bad["total"], "reason" in bad["columns"]) == (0, True)


def test_rows_and_profiles_by_conditions(quiet: World):
    asked = {"table": "loans", "where": ["amount:>=:4000", "region:contains:OR", "known_at:<:2024-02-01"]}
    found = quiet.api.get("/data/preview", params={**asked, "limit": 1000, "sort": "amount", "descending": True}).json()
    rows = found["rows"]
    amounts = [row["amount"] for row in rows]
    assert len(rows) == found["total"] > 10
    assert amounts == sorted(amounts, reverse=True)
    assert all(row["amount"] >= 4000 and row["region"] == "north" and row["known_at"] < "2024-02-01" for row in rows)
    told = quiet.api.get("/data/profile", params={**asked, "columns": ["amount", "region"]}).json()
    amount, region = told["columns"]
    assert told["rows"] == amount["count"] == sum(part["rows"] for part in amount["histogram"]) == len(rows)
    assert (amount["least"], amount["most"]) == (amounts[-1], amounts[0])
    assert region["frequent"] == [{"value": "north", "rows": len(rows)}]
    features = quiet.api.get("/v1/data/profile", params={"table": "loan_terms", "layer": "features"}).json()
    assert "event_timestamp" in [one["column"] for one in features["columns"]]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"where": "amount:>:a lot"}, "amount is DOUBLE, and 'a lot' is none"),
        ({"where": "amount:between:1"}, "the operators are ="),
        ({"where": "price:=:1"}, "loans has no column 'price'"),
        ({"where": "region:=:\0"}, ""),
        ({"where": "1:=:1) OR (1:=:1"}, "loans has no column"),
        ({"where": "region:=:" + "x" * 1000}, "at most 1000 characters"),
        ({"where": ["amount:>:1"] * 21}, "at most 20 items"),
        ({"sort": "amount; DROP TABLE loans"}, "loans has no column"),
        ({"columns": "a\" FROM read_text('/etc/passwd') --"}, "loans has no column"),
    ],
)
def test_what_cannot_be_asked_of_a_table_is_told_in_words(quiet: World, asked: dict[str, Any], says: str):
    for path in ("/data/preview", *(["/data/profile"] if "sort" not in asked else [])):
        answer = quiet.api.get(path, params={"table": "loans", **asked})
        if says:
            assert says in problem(answer, 422)["detail"]
        else:  # a text like any other, which no row holds
            assert answer.json().get("total", 0) == 0
        assert "root:" not in answer.text


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"table": "../../source"}, 404),
        ({"table": "loans/../payments"}, 404),
        ({"table": "loan_terms"}, 404),  # a view, and these are raw tables
        ({"table": "spine", "layer": "features"}, 404),
        ({"table": "loans", "layer": "secrets"}, 422),
        ({"table": "loans", "columns": "amount; DROP TABLE loans"}, 422),
        ({"table": "loans", "columns": "a\" FROM read_text('/etc/passwd') --"}, 422),
        ({"table": "loans", "limit": 1001}, 422),
        ({"table": "loans", "limit": 0}, 422),
        ({}, 422),
    ],
)
def test_what_is_no_preview(quiet: World, asked: dict[str, Any], status: int):
    members = problem(quiet.api.get("/data/preview", params=asked), status)
    assert "root:" not in str(members)
    if "limit" not in asked:
        assert problem(quiet.api.get("/data/profile", params=asked), status)["detail"] == members["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/data/import", {"since": "2024-03-08T00:00:00Z"}, 422),
        ("/data/import", {"since": "2024-03-08T00:00:00Z", "until": "2024-03-08T00:00:00Z"}, 422),
        ("/data/import", {"since": "2024-03-08T00:00:00", "until": "2024-03-09T00:00:00"}, 422),
        ("/data/import", {"window": "next"}, 422),
        ("/data/validate", {"all": True}, 422),
        ("/data/apply", {"repo": "elsewhere"}, 422),
        ("/data/dataset", {"rows": 10}, 422),
        ("/data/materialize", {"views": ["no_such_view"]}, 404),
        ("/data/materialize", {"views": []}, 422),
        ("/data/materialize", {"views": ["--rebuild"]}, 404),
        ("/flow/rollback", {}, 422),
        ("/flow/rollback", {"reason": "x" * 501}, 422),
    ],
)
def test_what_starts_nothing(quiet: World, path: str, body: dict[str, Any], status: int):
    problem(quiet.api.post(path, json=body), status)
    assert quiet.api.get("/jobs").json() == {"jobs": []}


def test_rollback_with_the_training_service_away_is_a_503(quiet: World):
    members = problem(quiet.api.post("/flow/rollback", json={"reason": "worse"}), 503)
    assert "training" in members["detail"]


def test_a_window_is_imported_once_however_often_it_is_asked_for(data: World):
    body = {"since": "2024-03-08T00:00:00Z", "until": "2024-03-15T00:00:00Z"}
    first = data.over(data.api.post("/data/import", json=body).json()["id"])
    assert first["result"]["window"] == "20240308T000000Z_20240315T000000Z"
    again = data.over(data.api.post("/data/import", json=body).json()["id"])
    assert (again["status"], again["result"]) == ("done", first["result"])
    gap = data.over(
        data.api.post("/data/import", json={"since": "2024-04-08T00:00:00Z", "until": "2024-04-15T00:00:00Z"}).json()[
            "id"
        ]
    )
    assert gap["status"] == "failed"
    assert "does not begin where the last one ends" in gap["error"]


def test_the_location_of_a_job_and_its_key(data: World):
    answer = data.api.post("/data/validate", headers={"idempotency-key": "k"})
    assert answer.status_code == 202
    job_id = answer.json()["id"]
    assert answer.headers["location"] == f"/jobs/{job_id}"
    assert data.api.post("/v1/data/validate", headers={"idempotency-key": "k"}).json()["id"] == job_id
    data.over(job_id)
    log = data.api.get(f"/jobs/{job_id}/log").json()
    assert log["next"] == len(log["lines"]) > 0
    assert data.api.get(f"/jobs/{job_id}/log", params={"since": log["next"]}).json()["lines"] == []
    problem(data.api.post(f"/jobs/{job_id}/cancel"), 409)
    problem(data.api.get("/jobs/..%2f..%2fetc"), 404)


def test_definitions_are_applied_and_the_rows_to_learn_from_are_built(loans):
    ingest(loans, window(0, 60), window(60, 67))
    repo = loans.repo
    settings = Settings(feature_repo=repo.layout.repo)
    keys = keyring(repo, settings)  # before the service starts: it knows them at once
    with Api(build_app(repo, settings)) as api:  # with the commands themselves
        api.show(keys["data"])
        data = World(api, loans, keys, Others(), settings)
        (repo.layout.data / "registry.json").unlink()
        applied = data.over(api.post("/data/apply").json()["id"], 60)
        assert applied["status"] == "done", applied["error"]
        assert (repo.layout.data / "registry.json").is_file()
        built = data.over(api.post("/data/dataset", json={}).json()["id"], 60)
        assert built["status"] == "done", built["error"]
        assert "data version" in " ".join(built["result"]["said"])
        assert list(repo.layout.dataset.glob("*.parquet"))


def test_reading_and_changing_are_different_scopes(data: World):
    for scope, may_read, may_change in (
        ("read", 200, 403),
        ("data", 200, 202),
        ("predict", 403, 403),
        ("train", 403, 403),
    ):
        data.api.show(data.keys[scope])
        assert data.api.get("/data/versions").status_code == may_read, scope
        assert data.api.get("/data/profile", params={"table": "loans"}).status_code == may_read, scope
        assert data.api.post("/data/validate").status_code == may_change, scope
