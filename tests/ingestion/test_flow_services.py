"""The flow through all three services, each a process: from the next window to a reloaded champion, and back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.core.jobs.world import until
from tests.services.conftest import Machine, brought_up

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Give a machine of its own, on which no flow has run."""
    with brought_up(tmp_path_factory.mktemp("flow") / "loans") as made:
        yield made


def over(machine: Machine, job_id: str, patience: float = 300) -> dict[str, Any]:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        job = dict(machine.call("data", "GET", f"/jobs/{job_id}", "read").json())
        if job["status"] in ("done", "failed", "cancelled"):
            return job
        time.sleep(0.5)
    raise AssertionError(f"{job_id} is not over: {job}")


def serving(machine: Machine) -> str:
    return str(machine.call("prediction", "GET", "/models/available").json()["serving"])


def test_the_whole_flow_and_back(machine: Machine):
    for service in ("data", "training", "prediction"):  # the keys are new: each service sees them within a second
        path = {"data": "/jobs", "training": "/training/jobs", "prediction": "/models/available"}[service]
        until(lambda service=service, path=path: machine.call(service, "GET", path).status_code == 200)
    assert serving(machine) == "1"
    answer = machine.call("data", "POST", "/flow/run", "data")
    assert answer.status_code == 202, answer.text
    job = over(machine, answer.json()["id"])
    log = machine.call("data", "GET", f"/jobs/{job['id']}/log", "read").json()["lines"]
    assert job["status"] == "done", "\n".join(log)
    result = job["result"]
    assert result["window"] == "20240301T000000Z_20240308T000000Z"
    assert result["model_version"] == "2", result
    assert result["reasons"], result
    newest = machine.call("data", "GET", "/data/versions", "read").json()["versions"][0]
    assert (newest["version"], newest["current"], len(newest["windows"])) == (result["data_version"], True, 2)
    (run,) = machine.call("data", "GET", "/flow/runs", "read").json()["runs"]
    assert (run["status"], run["data_version"], run["model_version"]) == ("done", newest["version"], "2")
    assert serving(machine) == result["serving"] == ("2" if result["promoted"] else "1")
    if not result["promoted"]:  # the gate did not let it pass: a person does
        assert machine.call("training", "POST", "/training/models/2/promote", json={"reason": "try"}).status_code == 200
    back = machine.call("data", "POST", "/flow/rollback", "data", json={"reason": "it was worse"})
    assert back.status_code == 200, back.text
    until(lambda: serving(machine) == "1", "the version before")
    newest_act = machine.call("training", "GET", "/training/promotions").json()["promotions"][0]
    assert newest_act["action"] == "rollback"
    assert "it was worse" in newest_act["reasons"][0]
