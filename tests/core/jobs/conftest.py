from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.jobs import Jobs
from core.repo import FeatureRepo
from tests.conftest import DATABASES
from tests.core.jobs.world import loans_copy, make_jobs


@pytest.fixture
def repo(tmp_path) -> FeatureRepo:
    return loans_copy(tmp_path / "loans")


@pytest.fixture
def jobs(repo) -> Iterator[Jobs]:
    made = make_jobs(repo)
    made.launch()
    yield made
    made.close()


@pytest.fixture(params=DATABASES)
def store(request: pytest.FixtureRequest) -> str | None:
    """What PUNCTUAL_DATABASE says: nothing, or a real Postgres."""
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else None
