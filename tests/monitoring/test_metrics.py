"""What every service tells Prometheus: of its requests, its jobs, and what it takes of the machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from core.errors import StoreUnavailable
from core.jobs import Jobs
from core.jobs.metrics import job_gauges
from core.repo import FeatureRepo
from core.service import PUBLIC, add_gauges, add_told, create_app, gauge, harden, json_response, requires
from core.service.metrics import _forget_dead
from core.service.resources import resources
from core.settings import Settings
from tests.asgi import Api
from tests.conftest import DATABASES
from tests.core.jobs.world import finished, loans_copy, make_jobs, open_gate, until
from tests.core.keys import keyring
from tests.monitoring.metrics_text import Metrics

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Facts:
    """What the test service tells, and what holds its requests."""

    held: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False
    told: int = 0

    def tell(self) -> None:
        self.told += 1

    def read(self) -> Iterator[Any]:
        yield gauge("punctual_test_before", "Before it fails.", (), {(): 1.0})
        if self.away:
            raise StoreUnavailable("Redis does not answer.")
        yield gauge("punctual_test_rows", "Rows.", ("table", "kind"), {("a", "x"): 3.0, ("b", "y"): None})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> FeatureRepo:
    return loans_copy(tmp_path_factory.mktemp("metrics") / "loans")


@pytest.fixture(scope="module")
def facts() -> Facts:
    return Facts()


@pytest.fixture(scope="module")
def api(repo: FeatureRepo, facts: Facts) -> Iterator[Api]:
    app = create_app("test", name="told", lifespan=lifespan, checks={}, repo=repo, settings=Settings())

    @app.get("/held/{name}", openapi_extra=requires(PUBLIC))
    async def held(name: str) -> Any:
        await facts.held.wait()
        return json_response({"name": name})

    add_gauges(app, "facts", facts.read)
    add_told(app, facts.tell)
    key = keyring(repo)["read"]
    with Api(harden(app)) as served:
        served.show(key)
        yield served


def test_no_label_can_be_invented_by_a_client(api: Api):
    for i in range(20):
        api.request(f"BREW{i}", f"/coffee/{i}")
    metrics = Metrics.of(api)
    assert metrics("punctual_requests_total", service="told", method="other", route="unmatched", status="404") == 20
    assert not [method for method in metrics.values("punctual_requests_total", "method") if "BREW" in method]
    assert not [route for route in metrics.values("punctual_requests_total", "route") if "coffee" in route]


def test_requests_in_hand_are_told_while_they_are(api: Api, facts: Facts):
    async def three() -> float:
        asking = [asyncio.create_task(api._client.get(f"/held/{i}")) for i in range(3)]
        await asyncio.sleep(0.05)
        answer = await api._client.get("/metrics")
        facts.held.set()
        await asyncio.gather(*asking)
        return Metrics(answer.text)("punctual_requests_in_flight", service="told")

    assert api.run(three()) == 3 + 1  # and the one that asks
    metrics = Metrics.of(api)
    assert metrics("punctual_requests_in_flight", service="told") == 1
    assert metrics("punctual_request_seconds_count", service="told", route="/held/{name}", method="GET") == 3


def test_each_worker_tells_by_itself_once_a_second_and_when_it_is_asked(api: Api, facts: Facts):
    before = facts.told
    api.run(asyncio.sleep(1.2))
    by_itself = facts.told
    assert by_itself > before
    Metrics.of(api)
    assert facts.told > by_itself


def test_gauges_that_cannot_be_read_are_left_out_whole_and_the_others_told(api: Api, facts: Facts):
    metrics = Metrics.of(api)
    assert metrics("punctual_test_rows", table="a", kind="x") == 3
    assert metrics.values("punctual_test_rows", "table") == {"a"}
    assert metrics("punctual_gauges_failing", service="told", gauges="facts") == 0
    facts.away = True
    try:
        metrics = Metrics.of(api)
    finally:
        facts.away = False
    assert not {"punctual_test_rows", "punctual_test_before"} & metrics.names
    assert metrics("punctual_gauges_failing", service="told", gauges="facts") == 1
    assert metrics("punctual_gauges_failing", service="told", gauges="resources") == 0
    assert metrics("punctual_memory_bytes", service="told") > 0
    assert Metrics.of(api)("punctual_test_rows", table="a") == 3


def test_resources_are_those_of_all_processes_and_processor_time_does_not_go_back():
    def now() -> dict[str, float]:
        return {s.name: s.value for family in resources("told") for s in family.samples}

    before = now()
    spend = "x = bytearray(50_000_000); t = __import__('time'); end = t.process_time() + 0.3\n"
    spend += "while t.process_time() < end: pass\nprint('spent', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", spend], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        during = now()
        child.communicate(b"\n")
    after = now()
    assert during["punctual_processes"] == before["punctual_processes"] + 1
    assert during["punctual_memory_bytes"] > before["punctual_memory_bytes"] + 40_000_000
    assert during["punctual_cpu_seconds_total"] >= before["punctual_cpu_seconds_total"] + 0.3
    assert after["punctual_cpu_seconds_total"] >= during["punctual_cpu_seconds_total"]
    assert after["punctual_processes"] == before["punctual_processes"]
    assert after["punctual_start_timestamp_seconds"] == before["punctual_start_timestamp_seconds"]


def test_a_worker_that_was_killed_is_no_longer_counted_as_up(tmp_path: Path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    kept = [f"gauge_livesum_{os.getpid()}.db", f"counter_{gone.pid}.db", f"histogram_{gone.pid}.db"]
    for name in (*kept, f"gauge_livesum_{gone.pid}.db", f"gauge_livemax_{gone.pid}.db"):
        (tmp_path / name).touch()
    _forget_dead(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_workers_count_into_their_folder_also_when_prometheus_client_was_imported_first(tmp_path: Path):
    count = "import prometheus_client; from core.service.metrics import RequestMetrics; "
    count += "RequestMetrics('told').observe('GET', '/', 200, 0.1)"
    environment = {**os.environ, "PUNCTUAL_METRICS_DIR": str(tmp_path), "PROMETHEUS_MULTIPROC_DIR": "/nowhere"}
    subprocess.run([sys.executable, "-c", count], env=environment, cwd=ROOT, check=True)
    assert {path.name.split("_")[0] for path in tmp_path.iterdir()} >= {"counter", "histogram"}


@pytest.fixture(params=DATABASES)
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[FeatureRepo, Jobs]]:
    url = str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else None
    own = loans_copy(tmp_path / "loans")
    made = make_jobs(own, url)
    made.launch()
    yield own, made
    made.close()


def test_jobs_by_kind_and_state_the_queue_and_how_each_kind_last_ended(jobs: tuple[FeatureRepo, Jobs]):
    repo, made = jobs

    def told() -> dict[tuple[str, ...], float]:
        found = {}
        for family in job_gauges(made):
            for s in family.samples:
                found[s.name, s.labels.get("kind", ""), s.labels.get("status", "")] = s.value
        return found

    assert told()["punctual_jobs", "shell", "queued"] == 0
    assert told()["punctual_jobs_waiting_seconds", "", ""] == 0
    finished(made, made.start("shell", {"script": "true"}, actor="anna"))
    finished(made, made.start("shell", {"script": "exit 3"}, actor="anna"))
    slow = made.start("three", {}, actor="anna")
    until(lambda: made.get(slow.id).status == "running")
    made.start("shell", {"script": "true"}, actor="anna")
    until(lambda: told()["punctual_jobs_waiting_seconds", "", ""] > 0.2, "a wait")
    found = told()
    counts = {key[1:]: value for key, value in found.items() if key[0] == "punctual_jobs" and value}
    assert counts == {
        ("shell", "done"): 1,
        ("shell", "failed"): 1,
        ("shell", "queued"): 1,
        ("three", "running"): 1,
    }
    ended = "punctual_job_ended_timestamp_seconds"
    # SQLite keeps whole seconds.
    assert found[ended, "shell", "failed"] >= found[ended, "shell", "done"] > 1.6e9
    assert (ended, "three", "done") not in found
    for gate in ("one", "two", "three"):
        open_gate(repo, gate)
    finished(made, slow)
    until(lambda: told()["punctual_jobs", "shell", "done"] == 2, "the last")
    assert told()[ended, "shell", "done"] >= found[ended, "shell", "failed"]
    assert told()["punctual_jobs_waiting_seconds", "", ""] == 0
