"""The write side of the model registry: runs, new versions, and moving the roles.

What may become champion, and who said so, is decided in ``training.promotion``; reading is ``core.registry``.
"""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.model import Feature, PredictionModel
from core.registry import (
    CHALLENGER,
    CHAMPION,
    MODEL_FOLDER,
    PREVIOUS,
    RegistryReader,
    point,
    reachable,
    roles_lock,
)
from core.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

    from core.reference import Reference
    from core.repo import FeatureRepo

__all__ = ["CHALLENGER", "CHAMPION", "PREVIOUS", "Registry"]

JOB_TAG = "job"
_PYFUNC = Path(__file__).with_name("pyfunc.py")
REPORTS = "reports"


class Registry(RegistryReader):
    """The registered versions of one problem's model, to be added to.

    Parameters
    ----------
    repo : FeatureRepo
        Whose ``problem.name`` is both the experiment's and the registered model's name.
    settings : Settings, optional
        Where MLflow is; by default this process's settings.

    Raises
    ------
    ServiceUnavailable
        When MLflow does not answer.
    """

    def __init__(self, repo: FeatureRepo, settings: Settings | None = None) -> None:
        super().__init__(repo, settings)
        client = self.client
        import mlflow

        self._mlflow = mlflow
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        with reachable(self.uri):
            if client.get_experiment_by_name(self.name) is None:
                local = self.uri == repo.layout.mlflow_uri
                where = repo.layout.mlflow_artifacts.as_uri() if local else None
                client.create_experiment(self.name, artifact_location=where)
            self._experiment = mlflow.set_experiment(self.name).experiment_id

    def start_run(self, name: str, tags: dict[str, str], *, nested: bool = False) -> AbstractContextManager[Any]:
        """Start a run with lineage tags; use it as a context manager."""
        run: AbstractContextManager[Any] = self._mlflow.start_run(
            run_name=name, experiment_id=self._experiment, tags={**tags, **_git_tags()}, nested=nested
        )
        return run

    def resume_run(self, run_id: str) -> AbstractContextManager[Any]:
        """Go on with a run that was killed; use it as a context manager."""
        run: AbstractContextManager[Any] = self._mlflow.start_run(run_id=run_id)
        return run

    def done_by_job(self, job: str) -> tuple[str, str] | None:
        """Return the run and the version that a job has registered already, or None.

        Runs of the job that were killed before that are closed as such.
        """
        with reachable(self.uri):
            for run in self.client.search_runs([self._experiment], f"tags.{JOB_TAG} = '{job}'"):
                if versions := self.client.search_model_versions(f"run_id = '{run.info.run_id}'"):
                    return str(run.info.run_id), str(versions[0].version)
                if run.info.status == "RUNNING":
                    self.client.set_terminated(run.info.run_id, "KILLED")
        return None

    def log(self, params: dict[str, Any], metrics: dict[str, float]) -> None:
        """Log flat parameters and metrics to the active run; what is not a finite number is left out."""
        self._mlflow.log_params(params)
        self._mlflow.log_metrics({k: v for k, v in metrics.items() if v == v and abs(v) != float("inf")})

    def log_folder(self, folder: Path, name: str) -> None:
        """Log every file of a folder as artifacts under ``name``."""
        self._mlflow.log_artifacts(str(folder), name)

    def log_file(self, path: Path, name: str) -> None:
        """Log one file as an artifact under ``name``."""
        self._mlflow.log_artifact(str(path), name)

    def reports_of(self, run_id: str, folder: Path) -> Path:
        """Fetch the reports of a run into ``folder`` and return where they are."""
        with reachable(self.uri):
            return Path(self.client.download_artifacts(run_id, REPORTS, str(folder)))

    def register(
        self, model: PredictionModel, example: pd.DataFrame, tags: dict[str, str], reference: Reference
    ) -> str:
        """Log a model to the active run with the reference of its data, register it, and make it the challenger.

        Returns
        -------
        str
            The new version.
        """
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / MODEL_FOLDER)
            reference.save(Path(folder) / MODEL_FOLDER)
            info = self._mlflow.pyfunc.log_model(
                name=MODEL_FOLDER,
                python_model=str(_PYFUNC),  # its code, not a pickle of it
                artifacts={MODEL_FOLDER: str(Path(folder) / MODEL_FOLDER)},
                signature=_signature(model),
                input_example=example,
                pip_requirements=["punctual"],
                registered_model_name=self.name,
            )
        version = str(info.registered_model_version)
        self.challenge(version, tags)
        return version

    def challenge(self, version: str, tags: dict[str, str]) -> None:
        """Make a registered version the challenger: alias last but the pointer, which follows a whole local copy."""
        with reachable(self.uri):
            for key, value in tags.items():
                self.client.set_model_version_tag(self.name, version, key, value)
        self.ensure(version)
        with roles_lock(self.repo.layout), reachable(self.uri):
            self.client.set_registered_model_alias(self.name, CHALLENGER, version)
            point(self.repo.layout, self.name, "challenger", version)

    def crown(self, version: str, previous: str | None, reason: str) -> None:
        """Give a version the champion's role, and the one before it that of ``previous``; a challenger no more.

        The champion's alias moves first: from then on it is decided, and asking again finishes the rest. The pointer,
        which serving follows, comes last.
        """
        layout = self.repo.layout
        self.ensure(version)
        with roles_lock(layout), reachable(self.uri):
            roles = self.aliases()
            if roles.get(CHAMPION) != version:
                self.client.set_registered_model_alias(self.name, CHAMPION, version)
            if previous not in (None, version, roles.get(PREVIOUS)):
                self.client.set_registered_model_alias(self.name, PREVIOUS, previous)
            self.client.set_model_version_tag(self.name, version, "promotion", reason[:5000])
            if roles.get(CHALLENGER) == version:
                self.client.delete_registered_model_alias(self.name, CHALLENGER)
            self._point(version, None if roles.get(CHALLENGER) == version else roles.get(CHALLENGER))

    def follow(self) -> None:
        """Write pointers and local copies anew from the aliases: what was killed half-way is finished.

        Raises
        ------
        ModelUnavailable
            When a copy cannot be fetched.
        """
        roles = self.aliases()
        for role in (CHAMPION, CHALLENGER):
            if role in roles:
                self.ensure(roles[role])
        with roles_lock(self.repo.layout):
            self._point(roles.get(CHAMPION), roles.get(CHALLENGER))

    def _point(self, champion: str | None, challenger: str | None) -> None:
        layout = self.repo.layout
        if champion is not None:
            point(layout, self.name, "champion", champion)
        point(layout, self.name, "challenger", challenger if challenger != champion else None)


def _signature(model: PredictionModel) -> ModelSignature:
    """Return the model's inputs and output as MLflow describes them; numbers are doubles, for they may be missing."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    def kind(feature: Feature) -> DataType:
        if feature.kind == "numeric":
            return DataType.double
        return DataType.long if all(isinstance(c, int) for c in feature.categories) else DataType.string

    inputs = Schema([ColSpec(kind(f), f.name) for f in model.features])
    return ModelSignature(inputs, Schema([TensorSpec(np.dtype("float64"), (-1,))]))


def _git_tags() -> dict[str, str]:
    """Return the commit of the working folder, if it is a git checkout."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {"git_commit": done.stdout.strip()} if done.returncode == 0 else {}
