"""The command as a user runs it: it starts what it needs, survives kill -9, and leaves nothing running."""

from __future__ import annotations

import json
import shutil
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.files import read_json
from core.repo import FeatureRepo
from core.settings import Settings
from ingestion.fetch import fetch_window
from ingestion.transform import transform
from ingestion.validate import validate_all
from monitoring.logged import logged
from monitoring.replay_predictions import read_predictions
from stores.registry import apply
from tests.cli.conftest import ROOT, Shell, assert_one_clear_line, shell_for
from training.dataset import build_dataset
from training.params import TrainParams
from training.train import train

pytestmark = pytest.mark.slow
SINCE = datetime(2024, 3, 1, tzinfo=UTC)
WORDS = ("replay", "--from", "2024-03-01", "--to", "2024-03-02", "--step", "6h")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Give the loans repo with a champion that was trained on its first window; nothing runs."""
    folder = tmp_path_factory.mktemp("replay") / "loans"
    shutil.copytree(ROOT / "tests/repos/loans", folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    repo = FeatureRepo.load(folder)
    fetch_window(repo, repo.problem.data.initial)
    validate_all(repo)
    apply(repo)
    transform(repo)
    build_dataset(repo)
    settings = Settings(feature_repo=folder, _env_file=None)
    assert train(repo, TrainParams.load(ROOT / "params.yaml"), settings=settings).promoted
    return shell_for(folder)


def listening(shell: Shell) -> list[str]:
    addresses = [shell.environment["PUNCTUAL_REDIS"]]
    addresses += [f"127.0.0.1:{shell.environment[n]}" for n in ("PUNCTUAL_PORT", "PUNCTUAL_TRAINING_PORT")]
    found = []
    for address in addresses:
        host, port = address.split(":")
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                found.append(address)
    return found


def test_killed_and_run_again_in_a_copy_it_ends_with_a_report(shell: Shell, tmp_path: Path):
    copy = tmp_path / "copy"
    words = (*WORDS, "--copy-to", str(copy))
    folder = copy / "data/replay/20240301-20240303"
    process = shell.start(*words)
    deadline = time.monotonic() + 300
    while not list(folder.glob("predicted/[!.]*.parquet")):
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    while [a for a in listening(shell) if a != shell.environment["PUNCTUAL_REDIS"]]:  # the store is taken over
        assert time.monotonic() < deadline + 60, "the services outlive who started them"
        time.sleep(0.1)
    done = shell.run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Path(done.stdout.split()[-1]) == folder / "report.html"
    assert listening(shell) == []
    made = read_predictions(folder / "predicted").to_pandas()
    repo = FeatureRepo.load(copy)
    there = logged(repo, SINCE, SINCE + timedelta(days=2)).to_pandas()
    assert sorted(made["prediction_id"]) == sorted(there["prediction_id"])
    assert not made.duplicated(["entity", "moment"]).any()
    assert (made["predicted_at"] <= made["moment"]).all()
    report = read_json(folder / "report.json")
    assert report["counts"]["predicted"] == len(made) > 140
    assert report["counts"]["labelled"] > 50
    assert report["rescored"] < 1e-9
    assert [d["at"][:10] for d in report["decisions"] if d["action"] == "retrain"] == ["2024-03-02", "2024-03-03"]
    assert FeatureRepo.load(shell.repo).clock.now() == SINCE, "the original's clock has moved"


def test_what_cannot_be_is_said_in_a_line(shell: Shell):
    early = shell.run("replay", "--from", "2024-02-01", "--to", "2024-02-02")
    assert_one_clear_line(early, 1, "2024-02-01 has passed", "copy")
    assert shell.run("replay", "--from", "2024-03-01", "--to", "2024-03-02", "--step", "soon").returncode == 2
    assert json.loads((shell.repo / "data/models/champion.json").read_text())["version"] == "1"
