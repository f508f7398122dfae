"""The stages of the pipeline as commands: by DVC, which versions their results, where the repo is its project's."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.repo import FeatureRepo


def stage_environment(repo: FeatureRepo | None = None) -> dict[str, str]:
    """Return the environment for subprocesses: this interpreter's own commands come first on the PATH.

    Parameters
    ----------
    repo : FeatureRepo, optional
        The repo that they work on; as this process's environment says by default.
    """
    bin_folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([bin_folder, os.environ.get("PATH", "")])}
    if repo is not None:
        environment["PUNCTUAL_FEATURE_REPO"] = str(repo.layout.repo)
    return environment


def dvc_project(repo: FeatureRepo) -> Path | None:
    """Return the DVC project that drives this repo: the working directory, if its ``feature_repo`` is the one given."""
    project = Path.cwd()
    named = project / "feature_repo"
    if (project / "dvc.yaml").is_file() and (project / ".dvc").is_dir() and named.resolve() == repo.layout.repo:
        return project
    return None


def stage_command(repo: FeatureRepo, stage: str) -> list[str]:
    """Return the command that brings one stage up to date.

    In the DVC project it is ``dvc repro --single-item``, which waits while another command holds the project, and does
    nothing where nothing has changed. Elsewhere it is the ``punctual`` command itself.
    """
    if dvc_project(repo) is not None:
        return [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", stage]
    return punctual(stage)


def punctual(*words: str) -> list[str]:
    """Return a ``punctual`` command of this interpreter."""
    return [sys.executable, "-m", "cli.main", *words]
