"""What the tests of monitoring share."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.settings import get_settings
from tests.monitoring.log_world import LogWorld


@pytest.fixture(scope="session")
def log_world_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a world whose log is written by hand."""
    get_settings()
    return LogWorld.make(tmp_path_factory.mktemp("monitoring") / "loans").folder


@pytest.fixture
def log_world(log_world_folder: Path) -> LogWorld:
    """Give that world without a prediction and without labels."""
    world = LogWorld(log_world_folder)
    world.clear()
    return world
