"""One world for all tests of serving: building it takes seconds, and tests only read it or copy it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.repo import FeatureRepo
from core.settings import Settings, get_settings
from tests.asgi import Api
from tests.conftest import free_port
from tests.serving import orders
from tests.serving import world as worlds
from tests.serving.world import World, service, settings_of


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Give the loans, served."""
    get_settings()
    built = worlds.build(tmp_path_factory.mktemp("serving") / "loans")
    yield built
    built.server.stop()


@pytest.fixture(scope="session")
def settings(world: World) -> Settings:
    """Give settings with limits that a test can reach."""
    return settings_of(world.repo, max_batch=20, max_body_bytes=65_536)


@pytest.fixture(scope="session")
def api(world: World) -> Iterator[Api]:
    """Give the prediction service of the loans."""
    with service(world.repo, max_batch=20, max_body_bytes=65_536) as served:
        yield served


@pytest.fixture
def own_world(world: World, tmp_path: Path) -> Iterator[World]:
    """Give a copy with an empty Valkey of its own, which a test may fill and stop."""
    copy = world.copy_to(tmp_path / "loans", port=free_port())
    copy.server.start()
    yield copy
    copy.server.stop()


@pytest.fixture(scope="session")
def orders_repo(world: World, tmp_path_factory: pytest.TempPathFactory) -> FeatureRepo:
    """Give the orders repo, its first rows online in the same Valkey."""
    return orders.build(tmp_path_factory.mktemp("orders") / "orders", f"127.0.0.1:{world.server.port}")


@pytest.fixture(scope="session")
def orders_api(orders_repo: FeatureRepo) -> Iterator[Api]:
    """Give the prediction service of the orders."""
    with service(orders_repo) as served:
        yield served
