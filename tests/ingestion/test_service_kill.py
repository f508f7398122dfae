"""The data service as a process, killed with -9 in every step of one flow: the flow ends as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.settings import Settings
from stores.embedded import EmbeddedServer
from tests.conftest import free_port
from tests.core.jobs.world import alive
from tests.core.keys import keyring
from tests.ingestion.loans import Loans
from tests.ingestion.services import Others, served

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
KILLED_IN = ("import", "validate", "preprocess", "materialize", "train", "reload")
COMMANDS = {"import": "fetch", "validate": "validate", "preprocess": "transform", "materialize": "materialize"}


@dataclass
class DataService:
    """The service and how to start it again."""

    environment: dict[str, str]
    key: str
    port: int
    process: subprocess.Popen[bytes] | None = None
    said: list[Any] = field(default_factory=list)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "serve", "data"], cwd=ROOT, env=self.environment, start_new_session=True
        )
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            try:
                if self.get("/health/live")["live"]:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the data service did not start")

    def kill(self) -> None:
        """Kill it, and its workers, at once; the stages are in groups of their own."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def get(self, path: str) -> Any:
        return self._call("GET", path)

    def post(self, path: str) -> Any:
        return self._call("POST", path)

    def _call(self, method: str, path: str) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.request(method, url, headers={"authorization": f"Bearer {self.key}"}, timeout=20).json()

    def until(self, job_id: str, *, step: str | None = None, patience: float = 180) -> dict[str, Any]:
        """Wait until a job is at a step, or over."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            job = dict(self.get(f"/jobs/{job_id}"))
            if job["status"] in ("done", "failed", "cancelled") or (job["status"] == "running" and job["step"] == step):
                return job
            time.sleep(0.05)
        raise AssertionError(f"{job_id} never came to {step}: {job}")


@pytest.fixture
def valkey_process(tmp_path) -> Iterator[str]:
    folder = tmp_path / "valkey"
    folder.mkdir()
    server = EmbeddedServer(folder, "127.0.0.1", free_port())
    server.start()
    yield f"127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def others() -> Iterator[Others]:
    with served(Others(held=True, serving_after=1_000_000)) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def service(request, loans: Loans, valkey_process: str, others: Others) -> Iterator[DataService]:
    database = str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else None
    port = free_port()
    changed = {
        "PUNCTUAL_FEATURE_REPO": str(loans.folder),
        "PUNCTUAL_REDIS": valkey_process,
        "PUNCTUAL_DATA_PORT": str(port),
        "PUNCTUAL_TRAINING_URL": others.url,
        "PUNCTUAL_PREDICTION_URL": others.url,
        **({"PUNCTUAL_DATABASE": database} if database else {}),
    }
    key = keyring(loans.repo, Settings(database=database))["data"]
    running = DataService(os.environ | changed, key, port)
    running.start()
    yield running
    running.kill()


def test_killed_in_every_step_the_flow_ends_as_if_nothing_had_been(service: DataService, loans: Loans, others: Others):
    job_id = service.post("/flow/run")["id"]
    mine = f"PUNCTUAL_FEATURE_REPO={loans.folder}"
    for step in KILLED_IN:
        job = service.until(job_id, step=step)
        assert (job["status"], job["step"]) == ("running", step)
        if step in COMMANDS:
            deadline = time.monotonic() + 240
            while not (stage := alive(f"cli.main\x00{COMMANDS[step]}", mine)) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert stage, step
        service.kill()
        deadline = time.monotonic() + 10
        while alive("tether.py", mine) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not alive("tether.py", mine), f"the stage of {step} outlived its service"
        if step == "train":
            others.held = False
        if step == "reload":
            others.serving_after = 0
        service.start()
    job = service.until(job_id)
    assert (job["status"], job["error"], job["attempt"]) == ("done", None, 1)
    assert job["result"]["outcome"] == "promoted"
    assert others.trained() == [job_id]
    log = service.get(f"/jobs/{job_id}/log")["lines"]
    runs = {command: sum(f"cli.main {command}" in line for line in log) for command in COMMANDS.values()}
    assert runs == dict.fromkeys(COMMANDS.values(), 2)  # cut off once, and done once
    (run,) = service.get("/flow/runs")["runs"]
    assert (run["id"], run["status"]) == (job_id, "done")
    whole = undisturbed(loans)
    for layer in ("raw", "valid", "features"):
        assert shown(loans.files(layer)) == shown(whole.files(layer)), layer


def shown(files: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out unfinished work: no reader looks at names with a dot in front."""
    return {name: content for name, content in files.items() if not any(p.startswith(".") for p in Path(name).parts)}


def undisturbed(loans: Loans) -> Loans:
    """Return the same data, made without a flow."""
    from tests.ingestion.loans import ingest

    fresh = Loans.copy_to(loans.folder.parent / "undisturbed")
    return ingest(fresh, fresh.repo.problem.data.initial)
