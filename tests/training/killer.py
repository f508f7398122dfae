"""Trains again and again, killed with -9 before a commit to MLflow or a move of the file system.

Run as ``python -m tests.training.killer <repo> <work folder> <kills>``: as many kills as asked for, the last moves
(promotion) each, the others spread over the run. After each kill what serves must be whole, and the next training must
end well. Forks from one process that has imported everything.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import mlflow.pyfunc

import training.plots  # noqa: F401 - imported before the forks
from core.database import database
from core.files import read_json
from core.model import PredictionModel
from core.repo import FeatureRepo
from core.settings import get_settings
from tests.repos.killing import in_a_child
from training.ledger import Ledger
from training.params import TrainParams
from training.registry import CHAMPION, Registry
from training.train import train

PARAMS = TrainParams()
PROMOTION = 12  # moves at the end that are each worth a kill


def trained(folder: Path, die_at: int, moves_file: Path | None = None) -> int:
    """Train in a fork that is killed before its ``die_at``-th move (0: never); return its wait status."""
    return in_a_child(lambda: train(FeatureRepo.load(folder), PARAMS), die_at, moves_file)


def champion(folder: Path) -> PredictionModel | None:
    """Open what serving would open; None where nothing serves yet. A half-written one raises."""
    layout = FeatureRepo.load(folder).layout
    pointer = layout.models / "champion.json"
    return PredictionModel.load(layout.models / read_json(pointer)["version"]) if pointer.is_file() else None


def check(folder: Path, *, done: bool) -> None:
    """Check a repo; in a fork, for the process itself must never open a database that a later fork would share."""
    model = champion(folder)
    registry = Registry(FeatureRepo.load(folder))
    version = registry.version_of(CHAMPION)
    if done:
        assert model is not None
        assert version == model.version, f"{version} is the champion, {model.version} serves"
        assert model.metadata["run_id"] == registry.client.get_model_version(registry.name, version).run_id
        assert len(mlflow.pyfunc.load_model(f"models:/{registry.name}@champion").metadata.signature.inputs) > 0
        active = Ledger(database(FeatureRepo.load(folder), get_settings()), registry.name).active()
        assert active is not None
        assert active.version == version, f"the ledger says {active.version}"
    elif model is not None:
        # The pointer comes last: what serves is the champion.
        assert version == model.version


def checked(folder: Path, *, done: bool) -> bool:
    return in_a_child(lambda: check(folder, done=done)) == 0


def main() -> None:
    start, work, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    get_settings()
    shutil.copytree(start, work / "whole")
    assert trained(work / "whole", 0, work / "moves") == 0
    assert checked(work / "whole", done=True)
    total = int((work / "moves").read_text())
    last = [total - back for back in range(min(kills, PROMOTION))]
    spread = kills - len(last)
    chosen = sorted({*last, *(1 + (total - PROMOTION) * i // spread for i in range(spread))})
    for die_at in chosen:
        folder = work / f"killed-at-{die_at}-of-{total}"
        shutil.copytree(start, folder)
        assert os.WTERMSIG(trained(folder, die_at)) == signal.SIGKILL, folder
        assert checked(folder, done=False), folder
        assert trained(folder, 0) == 0, folder
        assert checked(folder, done=True), folder
        shutil.rmtree(folder)
    sys.stdout.write(f"{len(chosen)} {total}\n")


if __name__ == "__main__":
    main()
