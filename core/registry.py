"""The read side of the model registry: roles, versions, local copies, and the pointers that serving follows.

``challenger`` is the newest candidate, ``champion`` the one that serves, ``previous`` the champion before it: aliases
in MLflow. Serving reads only what is on this machine: a folder a version under ``data/models``, and the pointers
``champion.json`` and ``challenger.json``, written when the copy is whole. So predictions go on when MLflow is away.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core import reference
from core.errors import ModelUnavailable, NotFound, ServiceUnavailable
from core.files import atomic_dir, locked, read_json, sha256, write_json
from core.model import ESTIMATOR, HEADER, PredictionModel
from core.settings import Settings, get_settings

if TYPE_CHECKING:
    from core.layout import Layout
    from core.repo import FeatureRepo

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
ROLES = (CHAMPION, CHALLENGER, PREVIOUS)
MODEL_FOLDER = "model"
Role = Literal["champion", "challenger"]
VERSION = r"^[1-9][0-9]{0,8}$"  # what a registered version's number looks like
# MLflow's own defaults wait for minutes; whoever asks here has something better to do, or asks again.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


def pointed_version(layout: Layout, role: Role) -> str | None:
    """Return the version that a pointer on this machine names, or None."""
    path = layout.models / f"{role}.json"
    try:
        return str(read_json(path)["version"])
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise ModelUnavailable(f"{path} cannot be read: {error!r}.", hint="Promote the version again.") from error


def point(layout: Layout, name: str, role: Role, version: str | None) -> None:
    """Let a pointer name a version whose local copy is whole; None removes it. Nothing is written twice."""
    path = layout.models / f"{role}.json"
    if version is None:
        path.unlink(missing_ok=True)
        return
    content = {"name": name, "version": version}
    try:
        same = read_json(path) == content
    except (FileNotFoundError, ValueError):
        same = False
    if not same:
        write_json(path, content)


def roles_lock(layout: Layout) -> AbstractContextManager[None]:
    """Hold the right to move aliases and pointers of this machine, once whoever has it is done."""
    return locked(layout.models / ".roles.lock")


class RegistryReader:
    """What is registered of one problem's model, and copies of it on this machine.

    MLflow is imported when it is asked for the first time: that takes seconds, and 200 MB.

    Parameters
    ----------
    repo : FeatureRepo
        Whose ``problem.name`` is the registered model's name.
    settings : Settings, optional
        Where MLflow is; by default this process's settings.
    """

    def __init__(self, repo: FeatureRepo, settings: Settings | None = None) -> None:
        settings = settings or get_settings()
        self.repo = repo
        self.name = repo.problem.name
        self.uri = settings.mlflow_uri or repo.layout.mlflow_uri

    @cached_property
    def client(self) -> Any:
        """MLflow's client."""
        get_settings()  # turns telemetry off before MLflow is imported
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        import mlflow

        self.repo.layout.data.mkdir(parents=True, exist_ok=True)
        return mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def aliases(self) -> dict[str, str]:
        """Return role -> version, of the roles that are taken.

        Raises
        ------
        ServiceUnavailable
            When MLflow does not answer.
        """
        with reachable(self.uri):
            found = self.client.search_registered_models(f"name = '{self.name}'")
        return {role: str(v) for model in found for role, v in model.aliases.items() if role in ROLES}

    def version_of(self, role: str) -> str | None:
        """Return the version that has a role, or None."""
        return self.aliases().get(role)

    def versions(self, most: int = 200) -> list[dict[str, Any]]:
        """Return the newest registered versions, newest first: run, metrics, roles, tags, and when each was made."""
        roles = self.aliases()
        with reachable(self.uri):
            found = self.client.search_model_versions(
                f"name = '{self.name}'", max_results=most, order_by=["version_number DESC"]
            )
            experiment = self.client.get_experiment_by_name(self.name)
            runs = {}
            if experiment is not None and found:
                wanted = ", ".join(f"'{v.run_id}'" for v in found)
                asked = f"attributes.run_id IN ({wanted})"
                runs = {r.info.run_id: r for r in self.client.search_runs([experiment.experiment_id], asked)}
        return [
            {**_facts(v, roles), "metrics": dict(runs[v.run_id].data.metrics) if v.run_id in runs else {}}
            for v in found
        ]

    def version(self, version: str) -> dict[str, Any]:
        """Return one registered version with its run's metrics and parameters.

        Raises
        ------
        NotFound
            When there is none of that number.
        """
        found = self._entity(version)
        with reachable(self.uri):
            data = self.client.get_run(found.run_id).data
        lineage = {k: v for k, v in data.tags.items() if not k.startswith("mlflow.")}
        return {**_facts(found, self.aliases()), "metrics": data.metrics, "params": data.params, "lineage": lineage}

    def ensure(self, version: str) -> Path:
        """Return the folder of a version's local copy; it is fetched unless a good copy is there.

        Nothing of the model is executed.

        Raises
        ------
        NotFound
            When the registry has no such version.
        ModelUnavailable
            When its files cannot be fetched.
        ServiceUnavailable
            When MLflow does not answer.
        """
        # Numbers start anew with another MLflow, runs do not.
        run, folder = str(self._entity(version).run_id), self.repo.layout.models / version
        if not _is_whole(folder, run):
            with locked(folder.with_name(f".{version}.lock")):
                if not _is_whole(folder, run):  # whoever held the lock may have fetched it
                    self._fetch(version, folder)
        return folder

    def load(self, version: str) -> PredictionModel:
        """Return a registered version, from its local copy; see :meth:`ensure`.

        Raises
        ------
        ModelUnavailable
            When it cannot be opened, too: it was made with other versions of the libraries, say.
        """
        return PredictionModel.load(self.ensure(version))

    def _entity(self, version: str) -> Any:
        """Return MLflow's record of a version."""
        from mlflow.exceptions import MlflowException

        if re.fullmatch(VERSION, version):
            try:
                with reachable(self.uri):
                    return self.client.get_model_version(self.name, version)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        numbers = ", ".join(v["version"] for v in reversed(self.versions()))
        raise NotFound(
            f"The registry has no version {version[:20]!r} of {self.name}.", hint=f"It has: {numbers or 'none'}."
        )

    def _fetch(self, version: str, folder: Path) -> None:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            with tempfile.TemporaryDirectory() as temporary, reachable(self.uri):
                # By its place, not as models:/…: that would ask whatever registry the process has set for everybody.
                where = self.client.get_model_version_download_uri(self.name, version)
                got = download_artifacts(artifact_uri=where, dst_path=temporary, tracking_uri=self.uri)
                with atomic_dir(folder) as whole:
                    shutil.copytree(Path(got) / "artifacts" / MODEL_FOLDER, whole, dirs_exist_ok=True)
                    header = read_json(whole / HEADER)
                    header["metadata"]["version"] = version
                    write_json(whole / HEADER, header)
        except (MlflowException, OSError, ValueError) as error:
            raise ModelUnavailable(
                f"Version {version} of {self.name} cannot be fetched: {error}.", hint="Are MLflow's artifacts there?"
            ) from error


def _is_whole(folder: Path, run: str) -> bool:
    """Say whether a folder holds the model of that run, unspoilt."""
    try:
        header = read_json(folder / HEADER)
        same = header["metadata"]["run_id"] == run and header["estimator_sha256"] == sha256(folder / ESTIMATOR)
        return bool(same and reference.is_whole(folder))
    except (OSError, KeyError, TypeError, ValueError):
        return False


def _facts(entity: Any, roles: dict[str, str]) -> dict[str, Any]:
    number = str(entity.version)
    return {
        "version": number,
        "roles": sorted(role for role, of in roles.items() if of == number),
        "run_id": str(entity.run_id),
        "registered_at": datetime.fromtimestamp(entity.creation_timestamp / 1000, UTC).isoformat(),
        "tags": dict(entity.tags),
    }


@contextmanager
def reachable(uri: str) -> Iterator[None]:
    """Turn what MLflow raises when it does not do its work into an error that says so; "not there" is an answer."""
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    hint = "Is MLflow running? PUNCTUAL_MLFLOW_URI says where it should be."
    try:
        yield
    except (requests.RequestException, sqlalchemy.exc.DBAPIError) as error:
        raise ServiceUnavailable(f"MLflow at {_shown(uri)} fails: {type(error).__name__}.", hint=hint) from error
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise
        reason = _shown(str(error).splitlines()[0])[:200]
        raise ServiceUnavailable(f"MLflow at {_shown(uri)} fails: {reason}", hint=hint) from error


def _shown(text: str) -> str:
    """Return a text without the passwords that URIs in it may hold."""
    return re.sub(r"//[^/@\s]*@", "//", text)
