"""Runs the stages of dvc.yaml: through DVC where it can version them, one by one where it cannot."""

from __future__ import annotations

import subprocess

from core.errors import ConfigError, PunctualError
from core.progress import console
from core.repo import FeatureRepo
from core.settings import Settings
from core.stages import dvc_project, punctual, stage_environment

# The stages of dvc.yaml in order; a test compares the two.
STAGES: tuple[tuple[str, ...], ...] = (
    ("fetch", "--initial"),
    ("validate",),
    ("apply",),
    ("transform",),
    ("materialize",),
    ("dataset",),
    ("train",),
)


def run(settings: Settings, repo: FeatureRepo) -> None:
    """Bring everything from raw windows to a promoted model up to date; what is done already is not done again.

    DVC versions paths inside its own project, so it drives the pipeline for the feature repo that dvc.yaml names.
    For a feature repo elsewhere (``PUNCTUAL_FEATURE_REPO``) the same stages run in the same order without it.

    Raises
    ------
    PunctualError
        When a stage failed. What it had finished stays, and the next run goes on from there.
    """
    environment = stage_environment()
    if dvc_project(repo) is not None:
        _stage(["dvc", "repro"], environment)
        return
    console.print(f"{repo.layout.repo} lies outside of the DVC project: its stages run without DVC.")
    for stage in STAGES:
        if stage == ("train",) and trained_already(repo):
            console.print("A model was trained on this very data already.")
            continue
        _stage(punctual(*stage), environment)


def trained_already(repo: FeatureRepo) -> bool:
    """Say whether a champion serves, and some version comes from the training set that is there, promoted or not.

    That is what DVC knows by itself in its project.
    """
    from serving.model_store import available, load_champion
    from training.dataset import read_manifest

    try:
        load_champion(repo.layout)
        snapshot = read_manifest(repo)["sha256"]
    except PunctualError:  # no champion, or none that opens: train
        return False
    return any(model["lineage"].get("snapshot") == snapshot for model in available(repo.layout)["models"])


def _stage(command: list[str], environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(command, env=environment, check=False)
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no {command[0]} command.", hint="Install the requirements: make install"
        ) from error
    if done.returncode != 0:
        raise PunctualError(
            f"`{' '.join(command[-2:])}` failed with exit code {done.returncode}.",
            hint="The lines above say why; mend that and run `punctual up` again.",
        )
