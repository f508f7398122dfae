"""The data service with its steps done in this process, so that a flow takes a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from core.jobs import Work
from core.repo import FeatureRepo
from core.settings import Settings
from core.windows import Window
from ingestion.fetch import fetch_window
from ingestion.service import build_app
from ingestion.steps import Steps
from ingestion.transform import transform
from ingestion.validate import validate_all
from tests.asgi import Api
from tests.core.keys import Keyring, keyring
from tests.ingestion.loans import Loans
from tests.ingestion.services import Others


class HereSteps(Steps):
    """The steps without processes: the same functions that the commands call."""

    def fetch(self, work: Work, window_id: str) -> dict[str, Any]:
        manifest = fetch_window(self.repo, Window.parse(window_id))
        return {"window": window_id, "rows": {name: table["rows"] for name, table in manifest["tables"].items()}}

    def validate(self, work: Work) -> dict[str, Any]:
        return {"windows": [report.window for report in validate_all(self.repo)]}

    def preprocess(self, work: Work) -> dict[str, Any]:
        return {"rows": transform(self.repo)}

    def materialize(self, work: Work, views: list[str] | None = None) -> dict[str, Any]:
        return {}


@dataclass
class World:
    """A running data service and what is around it."""

    api: Api
    loans: Loans
    keys: Keyring
    others: Others
    settings: Settings

    @property
    def repo(self) -> FeatureRepo:
        return self.loans.repo

    def flow(self, **options: Any) -> dict[str, Any]:
        """Run the flow by hand to its end."""
        answer = self.api.post("/flow/run", **options)
        assert answer.status_code == 202, answer.text
        return self.over(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.api.get(f"/jobs/{job_id}").json())

    def over(self, job_id: str, patience: float = 30) -> dict[str, Any]:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            job = self.job(job_id)
            if job["status"] in ("done", "failed", "cancelled"):
                return job
            time.sleep(0.05)
        raise AssertionError(f"{job_id} is not over: {job}")

    def run(self) -> dict[str, Any]:
        """Return the record of the newest run."""
        return dict(self.api.get("/flow/runs").json()["runs"][0])


@contextmanager
def world(loans: Loans, others: Others, steps: type[Steps] = HereSteps, **changed: Any) -> Iterator[World]:
    settings = Settings(training_url=others.url, prediction_url=others.url, api_key="any", **changed)
    repo = loans.repo
    keys = keyring(repo, settings)
    with Api(build_app(repo, settings, steps(repo, attempts=3, pause=0.05))) as api:
        api.show(keys["data"])
        yield World(api, loans, keys, others, settings)
