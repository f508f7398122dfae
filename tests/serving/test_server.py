"""The service as a process of its own: started, asked, deprived of its store, and stopped with nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import duckdb
import httpx
import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from tests.asgi import problem
from tests.conftest import free_port
from tests.core.auth.conftest import until
from tests.serving.world import World, key_for

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 180.0
SERVE = """
from core.repo import FeatureRepo
from core.settings import get_settings
from serving.server import run
settings = get_settings()
run(FeatureRepo.load(settings.feature_repo), settings)
"""


class Server:
    """``punctual serve`` in a subprocess."""

    def __init__(
        self, world: World, log: Path, *, command: tuple[str, ...] = ("-c", SERVE), **environment: str
    ) -> None:
        self.port = free_port()
        self._log = log.open("ab")
        self.log = log
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=os.environ
            | {
                "PUNCTUAL_FEATURE_REPO": str(world.folder),
                "PUNCTUAL_PORT": str(self.port),
                "PUNCTUAL_REDIS": f"127.0.0.1:{world.server.port}",
            }
            | environment,
            stdout=self._log,
            stderr=self._log,
        )
        key = {"authorization": f"Bearer {key_for(world.repo)}"}
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10, headers=key)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.client.get("/health").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def predict(self, *loans: int) -> httpx.Response:
        return self.client.post("/predict", json={"entities": [{"loan_id": loan} for loan in loans]})

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(45)
        finally:
            self.process.kill()
            self.process.wait()
            self._log.close()
            self.client.close()


def logged(world: World) -> set[str]:
    """Return the ids of all predictions in the log."""
    parts = world.folder / "data" / "predictions" / "**" / "*.parquet"
    rows = duckdb.sql(f"SELECT prediction_id FROM read_parquet('{parts}')").fetchall()
    assert len(rows) == len(set(rows))
    return {str(row[0]) for row in rows}


@pytest.mark.slow
def test_a_life_in_service(own_world: World, tmp_path: Path) -> None:
    own_world.fill()
    server = Server(own_world, tmp_path / "server.log")
    try:
        server.wait_until_ready()
        ids = {p["prediction_id"] for p in server.predict(3000, 3001).json()["predictions"]}

        own_world.server.stop()
        away = server.predict(3000)
        problem(away, 503)
        assert int(away.headers["retry-after"]) > 0
        health = server.client.get("/health")
        assert health.status_code == httpx.codes.SERVICE_UNAVAILABLE

        own_world.server.start()
        back = server.predict(3002)
        assert back.status_code == httpx.codes.OK, back.text
        ids |= {p["prediction_id"] for p in back.json()["predictions"]}
        assert server.client.get("/health").status_code == httpx.codes.OK

        with ThreadPoolExecutor(8) as pool:  # SIGTERM follows at once: what was answered must be in the log
            for answer in pool.map(lambda i: server.predict(3000 + i % 20), range(200)):
                assert answer.status_code == httpx.codes.OK, answer.text
                ids |= {p["prediction_id"] for p in answer.json()["predictions"]}
    finally:
        code = server.stop()
    assert code == 0, server.log.read_text()
    assert len(ids) == 203
    assert logged(own_world) == ids
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_sigterm_under_load_loses_no_answered_prediction(own_world: World, tmp_path: Path) -> None:
    own_world.fill()
    server = Server(own_world, tmp_path / "server.log")
    server.wait_until_ready()
    answered: set[str] = set()

    def ask(index: int) -> None:
        try:
            answer = server.predict(3000 + index % 20)
        except httpx.TransportError:
            return  # the server has gone
        if answer.status_code == httpx.codes.OK:
            answered.update(p["prediction_id"] for p in answer.json()["predictions"])
        if index == 100:
            server.process.send_signal(signal.SIGTERM)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(400)))
    server.stop()
    assert len(answered) > 50
    assert answered <= logged(own_world)


@pytest.mark.slow
def test_several_workers_share_the_port_and_lose_nothing(own_world: World, tmp_path: Path) -> None:
    own_world.fill()
    server = Server(own_world, tmp_path / "server.log", PUNCTUAL_WORKERS="2")
    try:
        server.wait_until_ready()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda i: server.predict(3000 + i % 20), range(100)))
    finally:
        code = server.stop()
    assert code == 0
    assert logged(own_world) == {p["prediction_id"] for a in answers for p in a.json()["predictions"]}


def answered(world: World, route: str = "/predict") -> dict[str, dict[str, int]]:
    """Return how often each worker answered on a route, by status: each counts in a file of its own."""
    folder = world.repo.layout.run / "metrics-prediction"
    found: dict[str, dict[str, int]] = {}
    for path in folder.glob("counter_*.db"):
        counts = found.setdefault(path.stem.removeprefix("counter_"), {})
        for metric in MultiProcessCollector.merge([str(path)], accumulate=False):  # type: ignore[no-untyped-call]
            for sample in metric.samples:
                if sample.name == "punctual_requests_total" and sample.labels["route"] == route:
                    counts[sample.labels["status"]] = int(sample.value)
    return found


def both_answer(client: httpx.Client, world: World) -> bool:
    """Ask on a new connection; True when two workers have said that they are ready: one may start later."""
    with suppress(httpx.TransportError):
        client.get("/health")
    return sum(counts.get("200", 0) > 0 for counts in answered(world, "/health").values()) == 2


@pytest.mark.slow
def test_what_one_worker_has_answered_the_other_finds(own_world: World, tmp_path: Path) -> None:
    own_world.fill()
    server = Server(own_world, tmp_path / "server.log", PUNCTUAL_WORKERS="2")
    alone = {**server.client.headers, "connection": "close"}
    client = httpx.Client(base_url=server.client.base_url, timeout=10, headers=alone)
    try:
        with client:
            until(lambda: both_answer(client, own_world), _PATIENCE)
            for number in range(12):
                (made,) = client.post("/predict", json={"entities": [{"loan_id": 3000 + number}]}).json()["predictions"]
                found = client.get(f"/predictions/{made['prediction_id']}")
                assert found.status_code == httpx.codes.OK, f"{number}: {found.text}"
                assert found.json()["probability"] == made["probability"]
            nobodys = f"{int(time.time() * 1_000_000):015x}" + "0" * 17  # noqa: TID251 - ids carry the machine's time
            assert "no prediction" in problem(client.get(f"/predictions/{nobodys}"), 404)["detail"]
    finally:
        server.stop()


@pytest.mark.slow
def test_a_rate_limit_holds_over_the_workers_together(own_world: World, tmp_path: Path) -> None:
    own_world.fill()
    second = key_for(own_world.repo)
    # An hour, so that the window does not slide on while the test is at work.
    server = Server(own_world, tmp_path / "server.log", PUNCTUAL_WORKERS="2", PUNCTUAL_RATE_LIMIT_KEY="20/hour")
    # Each request on a connection of its own, which the system gives to one worker or the other.
    alone = {**server.client.headers, "connection": "close"}
    client = httpx.Client(base_url=server.client.base_url, timeout=10, headers=alone)
    body = {"entities": [{"loan_id": 3000}]}
    try:
        with client, ThreadPoolExecutor(8) as pool:
            until(lambda: both_answer(client, own_world), _PATIENCE)
            answers = list(pool.map(lambda _: client.post("/predict", json=body), range(80)))
            by_worker = answered(own_world)
            as_other = {"authorization": f"Bearer {second}"}
            others = list(
                pool.map(lambda _: client.post("/predict", json=body, headers=as_other).status_code, range(30))
            )
    finally:
        server.stop()
    refused = [answer for answer in answers if answer.status_code != httpx.codes.OK]
    assert len(refused) == 60
    for answer in refused:
        assert "20 requests per hour" in problem(answer, 429)["detail"]
        assert 1 <= int(answer.headers["retry-after"]) <= 3600
    assert len(by_worker) == 2
    assert all(counts["200"] > 0 and counts["429"] > 0 for counts in by_worker.values()), by_worker
    assert sum(counts["200"] for counts in by_worker.values()) == 20
    assert sorted(others) == [200] * 20 + [429] * 10  # another key has a limit of its own
