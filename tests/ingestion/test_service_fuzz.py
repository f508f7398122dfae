"""Whatever a client with every right sends, the data service answers as its OpenAPI document says."""

from __future__ import annotations

from typing import Any

import pytest

from core.jobs import Work
from ingestion.steps import Steps
from tests.conftest import DATABASES
from tests.core.jobs.world import until
from tests.fuzz import try_every_operation
from tests.ingestion.flow_world import world
from tests.ingestion.loans import ingest, window
from tests.ingestion.services import Others, served

pytestmark = pytest.mark.slow

KINDS = {"import", "validate", "apply", "preprocess", "materialize", "dataset", "flow"}


class IdleSteps(Steps):
    """Steps that touch no data: hundreds of jobs take no longer than their bookkeeping."""

    def fetch(self, work: Work, window_id: str) -> dict[str, Any]:
        return {"window": window_id, "rows": {}}

    def validate(self, work: Work) -> dict[str, Any]:
        return {}

    def apply(self, work: Work) -> dict[str, Any]:
        return {}

    def preprocess(self, work: Work) -> dict[str, Any]:
        return {}

    def materialize(self, work: Work, views: list[str] | None = None) -> dict[str, Any]:
        return {"views": views}

    def dataset(self, work: Work) -> dict[str, Any]:
        return {}

    def version(self, work: Work) -> str:
        return "none"


@pytest.mark.parametrize("kind", DATABASES)
def test_it_answers_as_its_document_says_and_what_it_starts_comes_to_an_end(
    loans, kind: str, request: pytest.FixtureRequest
):
    settings = {
        "database": request.getfixturevalue("postgres_url") if kind == "postgres" else None,
        "rate_limit_key": "1000000/second",
        "rate_limit_login": "1000000/second",
    }
    ingest(loans, window(0, 60))
    with served(Others()) as others, world(loans, others, IdleSteps, **settings) as data:
        data.api.show(data.keys["admin"])
        try_every_operation(data.api, examples=12)
        jobs = until(lambda: over(data.api.get("/jobs", params={"limit": 500}).json()["jobs"]), "the jobs")
    assert {job["kind"] for job in jobs} == KINDS
    assert {job["error"] for job in jobs if job["status"] == "failed"} == set()


def over(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the jobs once all of them are over."""
    return jobs if all(job["status"] in ("done", "failed", "cancelled") for job in jobs) else []
