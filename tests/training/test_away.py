"""A training while MLflow, or who is to be told, is away for a while."""

from __future__ import annotations

import time

import mlflow
import pytest

from core.errors import ServiceUnavailable
from core.jobs import Jobs
from core.settings import Settings
from tests.core.jobs.world import finished, until
from tests.mlflow_server import MlflowServer
from training.jobs import KIND, register_training

pytestmark = pytest.mark.slow


def test_it_waits_for_an_mlflow_that_restarts(trainable, tmp_path, monkeypatch):
    trainable.problem(candidates=["logistic"])
    server = MlflowServer(tmp_path)
    server.start()
    monkeypatch.setenv("PUNCTUAL_MLFLOW_URI", server.uri)
    told: list[str] = []

    def tell(version: str) -> None:
        told.append(version)
        if len(told) < 4:
            raise ServiceUnavailable("nobody listens")

    settings = Settings(mlflow_uri=server.uri)
    jobs = Jobs("training", repo=trainable.repo, settings=settings)
    register_training(jobs, trainable.repo, settings, tell)
    jobs.launch()
    try:
        job = jobs.start(KIND, {"promote": True}, actor="anna")
        client = mlflow.MlflowClient(server.uri, server.uri)

        def begun() -> bool:
            experiment = client.get_experiment_by_name(trainable.repo.problem.name)
            return experiment is not None and bool(client.search_runs([experiment.experiment_id]))

        until(begun, "its run")
        server.kill()
        time.sleep(5)
        server.start()
        done = finished(jobs, job)
        assert done.status == "done", (done.error, jobs.log(job.id))
        assert done.result["promoted"]
        assert sum(line.endswith(" train") for line in jobs.log(job.id)) == 1, "nothing was fitted again"
        assert told == [done.result["version"]] * 4
    finally:
        jobs.close()
        server.kill()
