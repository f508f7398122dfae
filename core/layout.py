"""Where everything a feature repo owns lives on disk: inside its own ``data`` folder, as is Feast's habit.

A team that swaps the feature repo swaps its data with it, and nothing of one problem meets another.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths of one feature repo.

    Parameters
    ----------
    repo : Path
        The feature repo's folder (holds ``feature_store.yaml``).
    """

    repo: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "repo", Path(self.repo).resolve())

    @property
    def data(self) -> Path:
        """Everything below is made by punctual and can be made again."""
        return self.repo / "data"

    @property
    def raw(self) -> Path:
        """``<window>/<table>.parquet`` as fetched, with a ``manifest.json`` a window."""
        return self.data / "raw"

    @property
    def valid(self) -> Path:
        """``<window>/<table>.parquet``: the rows that passed validation."""
        return self.data / "valid"

    @property
    def quarantine(self) -> Path:
        """``<window>/<table>.parquet``: the rows that did not, with a ``reason``."""
        return self.data / "quarantine"

    @property
    def versions(self) -> Path:
        """Data versions: ``<version>.json``, and the ``dvc.lock`` of each."""
        return self.data / "versions"

    @property
    def dataset(self) -> Path:
        """The training snapshot and its manifest."""
        return self.data / "dataset"

    @property
    def models(self) -> Path:
        """Local copies of registered models, and ``champion.json`` that names the one to serve."""
        return self.data / "models"

    @property
    def predictions(self) -> Path:
        """The prediction log."""
        return self.data / "predictions"

    @property
    def reports(self) -> Path:
        """Validation reports, metrics and plots."""
        return self.data / "reports"

    @property
    def run(self) -> Path:
        """Pid files, sockets, and the embedded server's own data."""
        return self.data / "run"

    @property
    def secrets(self) -> Path:
        """Keys of this machine: for the owner's eyes alone (mode 0700, files 0600)."""
        return self.data / "secrets"

    @property
    def store_secret(self) -> Path:
        """The password of the embedded online store."""
        return self.secrets / "redis.key"

    @property
    def jobs(self) -> Path:
        """What jobs write beside their durable status: uploads, results, logs."""
        return self.data / "jobs"

    @property
    def shadow(self) -> Path:
        """What challengers said of live requests."""
        return self.data / "shadow"

    @property
    def monitoring(self) -> Path:
        """What monitoring found: truth, performance, drift reports."""
        return self.data / "monitoring"

    @property
    def replay(self) -> Path:
        """How far a replay has come, and its report."""
        return self.data / "replay"

    @property
    def database_url(self) -> str:
        """The default database of accounts, audit log and promotion ledger."""
        return f"sqlite:///{self.data / 'punctual.db'}"

    @property
    def mlflow_uri(self) -> str:
        """The default MLflow tracking and registry database."""
        return f"sqlite:///{self.data / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        """Where MLflow's default experiment keeps its artifacts."""
        return self.data / "mlartifacts"
