from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.repo import FeatureRepo
from tests.core.keys import LOANS, Keyring, keyring


@pytest.fixture
def repo(tmp_path: Path) -> FeatureRepo:
    """Give a repo with nothing in it but what it was made of."""
    shutil.copytree(LOANS, tmp_path / "loans", ignore=shutil.ignore_patterns("data", "__pycache__"))
    return FeatureRepo.load(tmp_path / "loans")


@pytest.fixture
def keys(repo: FeatureRepo) -> Keyring:
    """Give a key a scope in that repo's own database."""
    return keyring(repo)
