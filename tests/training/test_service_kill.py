"""The training service killed with -9 in the middle of a job: it goes on, and the model is not made twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.registry import RegistryReader
from tests.conftest import free_port
from tests.core.keys import keyring
from tests.training.loans import Loans, promotions

ROOT = Path(__file__).resolve().parents[2]


def eventually(found: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
    return value


class Training:
    """The service as a process."""

    def __init__(self, loans: Loans) -> None:
        self.loans = loans
        self.port = free_port()
        self.log = loans.folder.parent / "training.log"
        key = keyring(loans.repo)["train"]
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers={"authorization": f"Bearer {key}"}, timeout=30
        )

    def start(self) -> None:
        environment = {
            "PUNCTUAL_FEATURE_REPO": str(self.loans.folder),
            "PUNCTUAL_TRAINING_PORT": str(self.port),
            "OMP_NUM_THREADS": "1",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "serve", "training"],
                env={**os.environ, **environment},
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._ready)

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/training/jobs/{job_id}").json())


def _step(name: str) -> Callable[[Training, str], bool]:
    def running(training: Training, job_id: str) -> bool:
        return any(s["name"] == name and s["status"] == "running" for s in training.job(job_id)["steps"])

    return running


def _registered(training: Training, job_id: str) -> bool:
    return bool(RegistryReader(training.loans.repo).versions())


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment", [_step("dataset"), _step("train"), _registered], ids=["dataset", "train", "registered"]
)
def test_killed_it_goes_on_and_makes_one_model(trainable, moment):
    training = Training(trainable)
    training.start()
    try:
        job_id = training.http.post("/training/train", json={}).json()["job_id"]
        eventually(lambda: moment(training, job_id))
        training.kill()
        training.start()
        job = eventually(lambda: (j := training.job(job_id))["status"] in ("done", "failed") and j)
        assert job["status"] == "done", training.http.get(f"/training/jobs/{job_id}/log").json()
        assert (job["result"]["version"], job["result"]["promoted"]) == ("1", True)
        assert [v["version"] for v in training.http.get("/training/models").json()["versions"]] == ["1"]
        assert trainable.served().version == "1"
        rows = promotions(trainable).ledger.history()
        assert [(r.version, r.status) for r in rows if r.status != "refused"] == [("1", "active")]
    finally:
        training.kill()
