"""The monitoring service over HTTP, on a real database and real jobs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.client import MonitoringClient
from core.database import database as open_database
from core.files import write_json
from core.http import HttpClient
from core.settings import Settings
from monitoring.alarms import Alarms
from monitoring.decisions import Decisions
from monitoring.service import build_app
from monitoring.turn_answers import SkewSeen, Turn
from tests.asgi import Api, problem
from tests.core.keys import Keyring, keyring
from tests.monitoring.drift_world import install, serve, window
from tests.monitoring.log_world import LogWorld

MONDAY = datetime(2024, 3, 4, tzinfo=UTC)
WEEK = {"since": "2024-03-01T00:00:00Z", "until": "2024-03-08T00:00:00Z"}
TURN = {
    **Turn.example,
    "since": "2024-02-26T00:00:00+00:00",
    "until": MONDAY.isoformat(),
    "model_version": "1",
    "skew": {**SkewSeen.example, "rows": 5, "values": 30},
    "alarms": {"opened": [], "cleared": [], "open": 1},
}


@pytest.fixture(scope="module")
def world(log_world_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LogWorld:
    folder = tmp_path_factory.mktemp("service") / "loans"
    shutil.copytree(log_world_folder, folder)
    world = LogWorld(folder)
    install(world.repo.layout.models)
    return world


@pytest.fixture(autouse=True)
def nothing_seen(world: LogWorld) -> None:
    """Begin without predictions and turns."""
    world.clear()


@pytest.fixture(scope="module")
def keys(world: LogWorld) -> Keyring:
    return keyring(world.repo)


@pytest.fixture(scope="module")
def api(world: LogWorld, keys: Keyring) -> Iterator[Api]:
    with Api(build_app(world.repo, Settings(_env_file=None))) as api:
        api.show(keys["train"])
        yield api


def headers(keys: Keyring, scope: str) -> dict[str, str]:
    return {"authorization": f"Bearer {keys[scope]}"}


def test_it_is_ready_and_says_how_monitoring_is(api, world):
    found = api.get("/health").json()
    assert found["status"] == "ready"
    assert found["dependencies"]["last_turn"]["status"] == "degraded"
    write_json(world.repo.layout.monitoring / "turns" / "20240226T000000Z_20240304T000000Z.json", TURN)
    assert api.get("/health").json()["dependencies"]["last_turn"]["open_alarms"] == 1


def test_reading_needs_a_key_that_may_read_and_starting_one_that_may_change(api, keys):
    for path in ("turns", "decisions", "drift", "performance", "alarms"):
        assert api.get(f"/monitoring/{path}", headers=headers(keys, "read")).status_code == 200
        problem(api.get(f"/monitoring/{path}", headers=headers(keys, "predict")), 403)
    for path in ("run", "drift", "alarms/1/acknowledge"):
        problem(api.post(f"/monitoring/{path}", headers=headers(keys, "read"), json=WEEK), 403)


def test_turns_decisions_and_alarms_are_told(api, world, keys):
    assert problem(api.get("/monitoring/skew"), 404)
    write_json(world.repo.layout.monitoring / "turns" / "20240226T000000Z_20240304T000000Z.json", TURN)
    assert api.get("/monitoring/turns").json()["turns"] == [TURN]
    assert api.get("/monitoring/skew").json()["skew"]["rows"] == 5
    database = open_database(world.repo, Settings(_env_file=None))
    Alarms(database, "loans").raise_alarm("drift", "default_risk", "it moved", at=MONDAY, value=0.5, threshold=0.3)
    (alarm,) = api.get("/monitoring/alarms", params={"state": "open"}).json()["alarms"]
    assert (alarm["kind"], alarm["words"], alarm["acknowledged_by"]) == ("drift", "it moved", None)
    assert api.post(f"/monitoring/alarms/{alarm['id']}/acknowledge").json()["acknowledged_by"] == "key:train"
    problem(api.post("/monitoring/alarms/999/acknowledge"), 404)
    assert api.get("/monitoring/alarms", params={"state": "cleared"}).json()["alarms"] == []
    problem(api.get("/monitoring/alarms", params={"state": "x"}), 422)
    about: dict[str, Any] = {"champion": "1", "triggers": [], "reasons": ["nothing to do"], "facts": {}}
    Decisions(database, "loans").take("retrain", MONDAY, act=False, outcome="nothing", **about)
    (decision,) = api.get("/monitoring/decisions").json()["decisions"]
    assert (decision["outcome"], decision["reasons"]) == ("nothing", ["nothing to do"])


def test_a_window_that_is_none_starts_no_job(api):
    for body in (
        {"since": "2024-03-08T00:00:00Z", "until": "2024-03-01T00:00:00Z"},
        {"since": "2024-03-01T00:00:00", "until": "2024-03-08T00:00:00Z"},
        {"since": "yesterday", "until": "today"},
        {"since": 0.5, "until": 1.5},
        {"since": "0", "until": "1"},
        {**WEEK, "version": "latest"},
        {**WEEK, "version": "../1"},
        {**WEEK, "threshold": 1},
        [],
    ):
        problem(api.post("/monitoring/drift", json=body), 422)
        problem(api.post("/monitoring/run", json=body), 422)
    assert api.get("/jobs").json()["jobs"] == []


def test_a_window_without_a_prediction_starts_no_drift_test(api):
    told = problem(api.post("/monitoring/drift", json=WEEK), 409)
    assert "has predicted nothing" in told["detail"]
    assert api.get("/jobs").json()["jobs"] == []


def test_a_report_that_is_none_is_not_found(api):
    for name in ("..%2f..%2fsecrets", "a%00b", "%2e%2e", "x" * 300, ".hidden"):
        for path in (name, f"{name}/report.html", f"{name}/report.json"):
            assert api.get(f"/monitoring/drift/{path}").status_code in (404, 422)


@pytest.mark.slow
def test_a_drift_test_is_a_job_whose_report_can_be_had_but_not_run_here(api, world):
    serve(world, window(700))
    started = api.post("/monitoring/drift", json=WEEK, headers={"idempotency-key": "once"})
    assert started.status_code == 202, started.text
    assert (
        api.post("/monitoring/drift", json=WEEK, headers={"idempotency-key": "once"}).json()["id"]
        == (started.json()["id"])
    )
    deadline = time.monotonic() + 120
    while (job := api.get(started.headers["location"]).json())["status"] not in ("done", "failed"):
        assert time.monotonic() < deadline, job
        time.sleep(0.3)
    assert job["status"] == "done", job["error"]
    assert job["result"]["verdict"] == "no drift"
    (listed,) = api.get("/monitoring/drift").json()["reports"]
    assert listed["id"] == job["result"]["id"]
    assert api.get(f"/monitoring/drift/{listed['id']}").json()["rows"] == 700
    page = api.get(f"/monitoring/drift/{listed['id']}/report.html")
    assert "<html" in page.text
    assert page.headers["content-disposition"].startswith("attachment")
    policies = page.headers.get_list("content-security-policy")
    assert any("sandbox" in policy and "allow-scripts" not in policy for policy in policies)
    assert any("default-src 'none'" in policy for policy in policies)
    assert page.headers["x-content-type-options"] == "nosniff"
    data = api.get(f"/monitoring/drift/{listed['id']}/report.json")
    assert data.headers["content-type"] == "application/json"
    assert "attachment" in data.headers["content-disposition"]


def test_the_client_asks_what_the_service_answers(api, world, keys):
    write_json(world.repo.layout.monitoring / "turns" / "20240226T000000Z_20240304T000000Z.json", TURN)

    class Wire(HttpClient):
        """Sends to the app instead of over a wire."""

        def call(self, method: str, path: str, **options: Any) -> Any:
            options.pop("retry", None)
            sent = {k: v for k, v in options.items() if v is not None}
            answer = api.request(method, path, **sent)
            assert answer.status_code < 400, answer.text
            return answer

    client = MonitoringClient(Wire("http://localhost", "monitoring"))
    assert client.turns() == [TURN]
    assert client.alarms("cleared") == []
    assert all(row["reasons"] for row in client.decisions())
    assert client.reports() == []
    assert client.performance(hours=24, slices=False) == []
