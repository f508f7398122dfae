"""What the tests of monitoring share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import get_settings
from tests.monitoring.log_world import LogWorld
from tests.serving import world as worlds
from tests.serving.world import World


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


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Give the loans repo with features online and a champion; who spoils it, mends it."""
    get_settings()
    world = worlds.build(tmp_path_factory.mktemp("served") / "loans")
    yield world
    world.server.stop()
