"""The loans repo up to its training set, made once a session; every test may spoil its own copy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

# Small models gain nothing from threads, and lose minutes to them where cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from core.settings import get_settings
from tests.training.loans import Loans


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a loans repo with feature rows of its first two months; nobody writes to it."""
    get_settings()
    folder = tmp_path_factory.mktemp("training") / "loans"
    Loans.copy_to(folder).prepare()
    return folder


@pytest.fixture
def loans(ready: Path, tmp_path: Path) -> Loans:
    """Give a copy of the prepared loans repo."""
    folder = tmp_path / "loans"
    shutil.copytree(ready, folder)
    return Loans(folder)
