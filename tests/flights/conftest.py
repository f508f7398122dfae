from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.repo import FeatureRepo

REPO = Path(__file__).resolve().parents[2] / "feature_repo"


@pytest.fixture(scope="session")
def repo() -> FeatureRepo:
    return FeatureRepo.load(REPO)


@pytest.fixture(scope="session")
def tables(repo):
    """Every raw table of the whole archive."""
    return repo.fetch(datetime(2012, 12, 1, tzinfo=UTC), datetime(2014, 2, 1, tzinfo=UTC))
