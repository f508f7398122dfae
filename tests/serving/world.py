"""The small loans repo, brought up for serving: real raw data, a real Valkey, a model that was fitted on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from core.files import write_json
from core.model import Feature, PredictionModel
from core.repo import FeatureRepo
from core.settings import Settings
from ingestion.fetch import fetch_window
from ingestion.transform import transform
from ingestion.validate import validate_all
from serving.service import build_app
from stores.connection import online_config
from stores.embedded import EmbeddedServer
from stores.registry import apply, open_store
from stores.writer import materialize
from tests.asgi import Api
from tests.conftest import free_port
from tests.core.keys import accounts_of
from training.dataset import build_dataset, read_dataset

LOANS = Path(__file__).resolve().parents[1] / "repos" / "loans"
INPUTS = [
    Feature("region", "categorical", ("north", "south", "west")),
    Feature("hour", "numeric"),
    Feature("payments_30d", "numeric"),
    Feature("missed_30d", "numeric"),
    Feature("last_missed", "numeric"),
    Feature("amount_thousands", "numeric"),
]


@dataclass
class World:
    """A feature repo with features online and a champion to serve.

    Attributes
    ----------
    folder : Path
        The feature repo; its ``feature_store.yaml`` names the server's address outright.
    server : EmbeddedServer
        Owned by the tests: may be stopped and started again.
    """

    folder: Path
    server: EmbeddedServer

    @property
    def repo(self) -> FeatureRepo:
        return FeatureRepo.load(self.folder)

    @property
    def model(self) -> PredictionModel:
        return PredictionModel.load(self.repo.layout.models / "1")

    def fill(self) -> None:
        """Write all feature rows into the online store."""
        materialize(open_store(self.repo), now=self.repo.clock.now())

    def copy_to(self, folder: Path, *, port: int | None = None, change: Callable[[str], str] | None = None) -> World:
        """Copy the repo, to be spoilt by a test: another server's port, or other Feast definitions."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("__pycache__", "predictions", "run"))
        server = self.server
        if port is not None:
            point_at(folder, f"127.0.0.1:{self.server.port}", f"127.0.0.1:{port}")
            server = EmbeddedServer(folder / "data" / "run", "127.0.0.1", port)
        if change is not None:
            definitions = folder / "definitions.py"
            definitions.write_text(change(definitions.read_text()))
            apply(FeatureRepo.load(folder))
        return World(folder, server)


def settings_of(repo: FeatureRepo, **options: Any) -> Settings:
    """Return settings for a repo: its own Redis, any host name, and what a test wants otherwise."""
    redis = online_config(open_store(repo).config).connection_string
    return Settings(**{"feature_repo": repo.layout.repo, "redis": redis, "trusted_hosts": ["*"]} | options)


def key_for(repo: FeatureRepo, *scopes: str) -> str:
    """Make a key of the repo's own service."""
    return accounts_of(repo, settings_of(repo)).keys.create("tests", scopes or ("predict", "read"), owner="tests")[0]


def service(repo: FeatureRepo, **options: Any) -> Api:
    """Return the prediction service of a repo, to be asked with a key that may."""
    api = Api(build_app(repo, settings_of(repo, **options)))
    api.show(key_for(repo))
    return api


def point_at(folder: Path, old: str, new: str) -> None:
    """Change the online store's address in ``feature_store.yaml``."""
    path = folder / "feature_store.yaml"
    path.write_text(path.read_text().replace(old, new))


def build(folder: Path) -> World:
    """Go the whole way from raw rows to a champion, for the first two months of loans."""
    shutil.copytree(LOANS, folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    port = free_port()
    point_at(folder, "${PUNCTUAL_REDIS}", f"127.0.0.1:{port}")
    world = World(folder, EmbeddedServer(folder / "data" / "run", "127.0.0.1", port))
    world.server.start()
    repo = world.repo
    fetch_window(repo, repo.problem.data.initial)
    validate_all(repo)
    apply(repo)
    transform(repo)
    world.fill()
    fit(repo)
    return world


def fit(repo: FeatureRepo, version: str = "1") -> PredictionModel:
    """Fit a model on the point-in-time training set, and make it the local champion."""
    build_dataset(repo)
    table, manifest = read_dataset(repo)
    rows = table.to_pydict()
    blank = PredictionModel(INPUTS, None, (np.array([0.0, 1.0]),) * 2, 0.3, ("paid", "missed"))
    label = np.array(rows[repo.problem.label.column])
    estimator = HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(blank.matrix(rows), label)
    lineage = {
        "version": version,
        "feature_service": manifest["feature_service"],
        "registry_version": manifest["registry_version"],
        "data_version": manifest["data_version"],
        "snapshot": manifest["sha256"],
    }
    model = PredictionModel(INPUTS, estimator, blank.calibration, blank.threshold, blank.classes, lineage)
    model.save(repo.layout.models / version)
    write_json(repo.layout.models / "champion.json", {"name": repo.problem.name, "version": version})
    return model
