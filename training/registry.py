"""The model registry: MLflow for the record, aliases for roles, and a local copy for serving.

``challenger`` is the newest candidate, ``champion`` the one that serves, ``previous`` the champion before it. Serving
reads only the local copy (``data/models``), so predictions go on when MLflow is away. The pointer
``champion.json`` is written last: until then the old champion serves.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ModelUnavailable, NoData
from core.files import write_json
from core.model import Feature, PredictionModel
from core.settings import get_settings

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

    from core.repo import FeatureRepo

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
_FOLDER = "model"


class Registry:
    """The registered versions of one problem's model.

    Parameters
    ----------
    repo : FeatureRepo
        Whose ``problem.name`` is both the experiment's and the registered model's name.
    """

    def __init__(self, repo: FeatureRepo) -> None:
        settings = get_settings()  # turns telemetry off before MLflow is imported
        import mlflow

        self._mlflow = mlflow
        self._repo = repo
        self.name = repo.problem.name
        uri = settings.mlflow_uri or repo.layout.mlflow_uri
        repo.layout.data.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        self.client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        if self.client.get_experiment_by_name(self.name) is None:
            local = settings.mlflow_uri is None
            where = repo.layout.mlflow_artifacts.as_uri() if local else None
            self.client.create_experiment(self.name, artifact_location=where)
        mlflow.set_experiment(self.name)

    def start_run(self, name: str, tags: dict[str, str], *, nested: bool = False) -> Any:
        """Start a run with lineage tags; use it as a context manager."""
        return self._mlflow.start_run(run_name=name, tags={**tags, **_git_tags()}, nested=nested)

    def log(self, params: dict[str, Any], metrics: dict[str, float]) -> None:
        """Log flat parameters and metrics to the active run; what is not a finite number is left out."""
        self._mlflow.log_params(params)
        self._mlflow.log_metrics({k: v for k, v in metrics.items() if v == v and abs(v) != float("inf")})

    def log_folder(self, folder: Path, name: str) -> None:
        """Log every file of a folder as artifacts under ``name``."""
        self._mlflow.log_artifacts(str(folder), name)

    def register(self, model: PredictionModel, example: pd.DataFrame, tags: dict[str, str]) -> str:
        """Log a model to the active run, register it, and give it the alias ``challenger``.

        Returns
        -------
        str
            The new version. Only when everything is written does the alias move.
        """
        from training.pyfunc import ProbabilityModel

        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / _FOLDER)
            info = self._mlflow.pyfunc.log_model(
                name=_FOLDER,
                python_model=ProbabilityModel(),
                artifacts={_FOLDER: str(Path(folder) / _FOLDER)},
                signature=_signature(model),
                input_example=example,
                pip_requirements=["punctual"],
                registered_model_name=self.name,
            )
        version = str(info.registered_model_version)
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, version, key, value)
        self.client.set_registered_model_alias(self.name, CHALLENGER, version)
        return version

    def version_of(self, alias: str) -> str | None:
        """Return the version that an alias stands for, or None."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.client.get_model_version_by_alias(self.name, alias).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def load(self, version: str) -> PredictionModel:
        """Return a registered version; it is fetched into ``data/models`` unless a good copy is there.

        Raises
        ------
        NoData
            When the registry has no such version.
        ModelUnavailable
            When it cannot be fetched or opened.
        """
        run = self._run_of(version)
        folder = self._local(version)
        try:
            model = PredictionModel.load(folder)
        except ModelUnavailable:
            model = None  # not there yet, or spoilt: the registry has the original
        if model is None or model.metadata.get("run_id") != run:
            self._fetch(version, folder)
            model = PredictionModel.load(folder)
        return model

    def promote(self, version: str, reasons: list[str]) -> None:
        """Make a version the champion; the champion before it becomes ``previous``."""
        self.load(version)  # a local copy that opens, before anything points to it
        old = self.version_of(CHAMPION)
        if old is not None and old != version:
            self.client.set_registered_model_alias(self.name, PREVIOUS, old)
        self.client.set_registered_model_alias(self.name, CHAMPION, version)
        self.client.set_model_version_tag(self.name, version, "promotion", "; ".join(reasons))
        write_json(self._repo.layout.models / "champion.json", {"name": self.name, "version": version})

    def rollback(self) -> str:
        """Make ``previous`` the champion again and return its version.

        Raises
        ------
        NoData
            When there is no previous champion.
        """
        version = self.version_of(PREVIOUS)
        if version is None:
            raise NoData("There is no previous champion to go back to.", hint="Promote a version instead.")
        self.promote(version, ["rolled back to"])
        return version

    def sync_champion(self) -> None:
        """Write the local copy and pointer anew from the alias: a promotion that was killed half-way is finished."""
        version = self.version_of(CHAMPION)
        if version is None:
            return
        try:
            self.load(version)
        except ModelUnavailable as error:
            # Made with other libraries, say: no reason not to train its successor.
            logging.getLogger(__name__).warning("The champion, version %s, cannot be opened: %s", version, error)
        else:
            write_json(self._repo.layout.models / "champion.json", {"name": self.name, "version": version})

    def _run_of(self, version: str) -> str:
        """Return the run that made a version: numbers start anew with another MLflow, runs do not."""
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.get_model_version(self.name, version) if version.isdecimal() else None
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            found = None
        if found is None:
            versions = [str(v.version) for v in self.client.search_model_versions(f"name = '{self.name}'")]
            raise NoData(
                f"The registry has no version {version!r} of {self.name}.",
                hint=f"It has: {', '.join(sorted(versions, key=int)) or 'none'}.",
            )
        return str(found.run_id)

    def _local(self, version: str) -> Path:
        return self._repo.layout.models / version

    def _fetch(self, version: str, folder: Path) -> None:
        from mlflow.exceptions import MlflowException

        try:
            with tempfile.TemporaryDirectory() as temporary:
                uri = f"models:/{self.name}/{version}"
                got = self._mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=temporary)
                model = PredictionModel.load(Path(got) / "artifacts" / _FOLDER)
                model.metadata["version"] = version
                model.save(folder)
        except MlflowException as error:
            raise ModelUnavailable(
                f"Version {version} of {self.name} cannot be fetched: {error}.", hint="Is MLflow reachable?"
            ) from error


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
