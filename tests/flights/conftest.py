from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.repo import FeatureRepo
from core.settings import get_settings
from core.windows import Window
from ingestion.fetch import fetch_window
from ingestion.transform import transform
from ingestion.validate import validate_all

REPO = Path(__file__).resolve().parents[2] / "feature_repo"


@pytest.fixture(scope="session")
def repo() -> FeatureRepo:
    return FeatureRepo.load(REPO)


@pytest.fixture(scope="session")
def tables(repo):
    """Every raw table of the whole archive."""
    return repo.fetch(datetime(2012, 12, 1, tzinfo=UTC), datetime(2014, 2, 1, tzinfo=UTC))


@pytest.fixture(scope="session")
def ingested(tmp_path_factory) -> FeatureRepo:
    """A copy of the feature repo with its first fifteen days, as three windows that came one after another."""
    get_settings()
    folder = tmp_path_factory.mktemp("flights") / "feature_repo"
    shutil.copytree(REPO, folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    repo = FeatureRepo.load(folder)
    for since, until in ((1, 12), (12, 14), (14, 16)):
        fetch_window(repo, Window(datetime(2013, 1, since, tzinfo=UTC), datetime(2013, 1, until, tzinfo=UTC)))
        validate_all(repo)
        transform(repo)
    return repo
