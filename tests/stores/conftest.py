"""Small Feast repos on files, for the tests of the stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore, RepoConfig

from tests.stores.repo import OURS, open_repo

MakeStore = Callable[..., FeatureStore]


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """Give a function that applies Feast objects to a repo in ``tmp_path`` and opens it with an offline store."""

    def make(objects: Iterable[Any], offline: dict[str, Any] | None = None) -> FeatureStore:
        store = open_repo(tmp_path, offline or OURS)
        store.apply(list(objects))
        return store

    return make


@pytest.fixture
def config(tmp_path: Path) -> RepoConfig:
    """Give the configuration of an empty repo on our offline store."""
    return open_repo(tmp_path, OURS).config
