"""Training as a durable job: the training set, the model, and what came of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from core.files import read_json
from core.jobs import ATTEMPTS, PAUSE_SECONDS, run_stage
from core.stages import dvc_project, punctual, stage_command, stage_environment
from training.overrides import Overrides
from training.registry import CHAMPION, Registry
from training.report import GATE

if TYPE_CHECKING:
    from core.jobs import Jobs, Work
    from core.repo import FeatureRepo
    from core.settings import Settings

KIND = "train"
STEPS = ("dataset", "train", "result", "notify")
# As long as a step's attempts wait: an MLflow that restarts while a model is fitted does not cost the fit.
_MLFLOW_RETRIES = "5"  # 0 + 4 + 8 + 16 + 32 s, at each request of the stage
_Result = TypeVar("_Result")


def register_training(jobs: Jobs, repo: FeatureRepo, settings: Settings, tell: Callable[[str], object]) -> None:
    """Declare the training job: one at a time, since each takes all cores.

    Its arguments are those of :class:`training.overrides.Overrides`, ``promote``, and ``notify``: whether to ``tell``
    people of the new version. Each step may be cut off and run again: the stages are idempotent, and a model that the
    job has registered is found by the job's id.
    """

    def train(work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
        overrides = Overrides.checked(**{k: v for k, v in arguments.items() if k not in ("promote", "notify")})
        environment = {
            **stage_environment(repo),
            "PUNCTUAL_JOB": work.id,
            "PUNCTUAL_PROMOTE": str(bool(arguments["promote"])).lower(),
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": _MLFLOW_RETRIES,
        }
        project = dvc_project(repo)

        def stage(command: list[str]) -> None:
            run_stage(work, command, environment=environment, cwd=project)

        def step(name: str, function: Callable[[], _Result]) -> _Result:
            return work.step(name, function, attempts=ATTEMPTS, pause=PAUSE_SECONDS)

        command = stage_command(repo, "train") if overrides.plain else punctual("train", *as_options(overrides))
        step("dataset", lambda: stage(stage_command(repo, "dataset")))
        step("train", lambda: stage(command))
        result = step("result", lambda: result_of(Registry(repo, settings), work.id))
        if (version := result["version"]) and arguments.get("notify", True):
            step("notify", lambda: tell(version))
        return result

    jobs.queue(KIND, concurrency=1)
    jobs.register(KIND, train, steps=STEPS, queue=KIND)


def as_options(overrides: Overrides) -> list[str]:
    """Return overrides as options of ``punctual train``; all of them were checked, none begins with a dash."""
    out = [option for name in overrides.candidates or () for option in ("--candidate", name)]
    for candidate, settings in overrides.params.items():
        for name, value in settings.items():
            out += ["--set", f"{candidate}.{name}={value!r}"]
    for bound in ("since", "until"):
        if moment := getattr(overrides, bound):
            out += [f"--{bound}", f"{moment:%Y-%m-%dT%H:%M:%S}"]
    return out


def result_of(registry: Registry, job: str) -> dict[str, Any]:
    """Return what a job has made: version, candidate, metrics, the gate's verdict, whether it was promoted or waits.

    Where nothing had changed since the last training, DVC has nothing to do and there is no new version.
    """
    found = registry.done_by_job(job)
    if found is None:
        champion = registry.version_of(CHAMPION)
        why = "Nothing that a model is made from has changed since the last training."
        nothing = {"trained": False, "version": None, "promoted": False, "waits": False}
        return {**nothing, "champion": champion, "reasons": [why]}
    run_id, version = found
    record = registry.version(version)
    with tempfile.TemporaryDirectory() as folder:
        gate = read_json(registry.reports_of(run_id, Path(folder)) / GATE)
    return {
        "trained": True,
        "version": version,
        "candidate": record["params"]["candidate"],
        "metrics": record["metrics"],
        "passed": gate["passed"],
        "reasons": gate["reasons"] + ([gate["not_promoted"]] if "not_promoted" in gate else []),
        "waits": bool(gate.get("waits")),
        "promoted": CHAMPION in record["roles"],
        "champion": registry.version_of(CHAMPION),
    }
