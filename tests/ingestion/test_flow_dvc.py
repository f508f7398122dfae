"""In a DVC project the steps run its stages: what DVC knows stays true, and every version can be had again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.jobs import Jobs
from core.repo import FeatureRepo
from core.settings import Settings
from core.windows import list_windows
from ingestion import versions
from ingestion.step_jobs import register_steps
from ingestion.steps import Steps
from tests.core.jobs.world import finished

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def dvc(*words: str) -> str:
    return run(sys.executable, "-m", "dvc", *words)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valkey: str) -> Iterator[tuple[Jobs, FeatureRepo]]:
    """The data service's jobs in a DVC project of their own."""
    project = tmp_path / "project"
    shutil.copytree(
        ROOT / "tests/repos/loans", project / "feature_repo", ignore=shutil.ignore_patterns("data", "__pycache__")
    )
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, project / name)
    (project / ".gitignore").write_text("/feature_repo/data\n")
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run("git", "init", "-q")
    dvc("init", "-q")
    run("git", "add", "-A")
    run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start")
    repo = FeatureRepo.load(project / "feature_repo")
    made = Jobs("data", repo=repo, settings=Settings())
    made.queue("data", concurrency=1)
    register_steps(made, Steps(repo))
    made.launch()
    yield made, repo
    made.close()


def test_dvc_stays_true_and_versions_can_be_had_again(jobs: tuple[Jobs, FeatureRepo]):
    service, repo = jobs

    def take_in(*kinds: str) -> dict[str, Any]:
        for kind in kinds:
            job = finished(service, service.start(kind, {}, actor="anna"))
            assert job.status == "done", (job, service.log(job.id))
        return versions.list_versions(repo)[0]

    first = take_in("import", "validate", "preprocess")
    second = take_in("import", "validate", "preprocess")
    # What DVC's lock says is what is there: nothing of these stages would run again.
    assert dvc("status", "fetch", "validate", "transform").strip() == "Data and pipelines are up to date."
    assert first["version"] != second["version"]
    assert first["dvc_lock"] != second["dvc_lock"]
    assert first["git_commit"] == second["git_commit"] == run("git", "rev-parse", "HEAD").strip()
    assert (first["actor"], second["current"]) == ("anna", True)
    assert len(list_windows(repo.layout.raw)) == 2
    kept = repo.layout.versions / f"{first['version']}.dvc.lock"
    shutil.copyfile(kept, "dvc.lock")
    dvc("checkout", "--force", "fetch", "validate", "transform")
    assert len(list_windows(repo.layout.raw)) == len(list_windows(repo.layout.valid)) == 1
    now = versions.list_versions(repo)
    assert [v["version"] for v in now if v["current"]] == [first["version"]]
