"""The loans repo up to its training set, made once a session; every test may spoil its own copy."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.settings import get_settings
from tests.training.loans import OTHER, QUICK, Loans

if TYPE_CHECKING:
    from training.train import Outcome


# Each of these trains: that takes seconds, and MLflow as long again.
_TRAININGS = frozenset({"trained", "trainable", "rivals", "contested"})


def pytest_itemcollected(item: pytest.Item) -> None:
    """Count the tests that train among the slow ones."""
    if _TRAININGS & set(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a loans repo with feature rows of its first two months; nobody writes to it."""
    get_settings()
    folder = tmp_path_factory.mktemp("training") / "loans"
    Loans.copy_to(folder).prepare()
    return folder


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an MLflow database without runs: making its tables takes longer than any test here."""
    get_settings()
    import mlflow

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}", registry_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def with_dataset(ready: Path, mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a loans repo with a training set and an empty MLflow; nobody writes to it."""
    from training.dataset import build_dataset

    folder = tmp_path_factory.mktemp("trainable") / "loans"
    shutil.copytree(ready, folder)
    build_dataset(Loans(folder).repo)
    shutil.copy(mlflow_database, folder / "data" / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def trained(with_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Loans, Outcome]:
    """Give a repo that was trained on once; nobody writes to it."""
    from training.train import train

    folder = tmp_path_factory.mktemp("trained") / "loans"
    shutil.copytree(with_dataset, folder)
    return Loans(folder), train(Loans(folder).repo, QUICK)


@pytest.fixture
def trainable(with_dataset: Path, tmp_path: Path) -> Loans:
    """Give a copy of the loans repo, ready to train on."""
    folder = tmp_path / "loans"
    shutil.copytree(with_dataset, folder)
    return Loans(folder)


@pytest.fixture
def loans(ready: Path, tmp_path: Path) -> Loans:
    """Give a copy of the prepared loans repo."""
    folder = tmp_path / "loans"
    shutil.copytree(ready, folder)
    return Loans(folder)


@pytest.fixture(scope="session")
def contested(with_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a repo whose champion is version 1 and whose challengers 2 and 3 were not promoted; nobody writes to it."""
    from training.train import train

    folder = tmp_path_factory.mktemp("contested") / "loans"
    shutil.copytree(with_dataset, folder)
    for params, promote in ((QUICK, True), (OTHER, False), (QUICK, False)):
        train(Loans(folder).repo, params, promote=promote)
    return folder


@pytest.fixture
def rivals(contested: Path, tmp_path: Path) -> Loans:
    """Give a copy of the repo with a champion and two challengers."""
    folder = tmp_path / "loans"
    shutil.copytree(contested, folder)
    # MLflow's artifacts are found by absolute path: what is not in the local copies comes from the original.
    return Loans(folder)
