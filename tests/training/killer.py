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

import mlflow
import sqlalchemy

import training.plots  # imported before the forks, as is the next
import training.pyfunc  # noqa: F401
from core.errors import ModelUnavailable
from core.files import read_json
from core.model import PredictionModel
from core.repo import FeatureRepo
from core.settings import get_settings
from training.params import TrainParams
from training.registry import CHAMPION, Registry
from training.train import train

PARAMS = TrainParams()
PROMOTION = 12  # moves at the end that are each worth a kill


def in_a_child(folder: Path, die_at: int, moves_file: Path | None = None) -> int:
    """Train in a fork that kills itself before its ``die_at``-th move (0: never); return its status."""
    if child := os.fork():
        return os.waitpid(child, 0)[1]
    moves, fsync, replace = 0, os.fsync, Path.replace

    def count(*_: object) -> None:
        nonlocal moves
        moves += 1
        if moves == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted_fsync(handle: int) -> None:
        count()
        fsync(handle)

    def counted_replace(self: Path, target: Path) -> Path:
        count()
        return replace(self, target)

    os.fsync, Path.replace = counted_fsync, counted_replace  # type: ignore[method-assign]
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", count)
    code = 1
    try:
        train(FeatureRepo.load(folder), PARAMS)
        if moves_file is not None:
            moves_file.write_text(str(moves))
        code = 0
    finally:
        os._exit(code)


def champion(folder: Path) -> PredictionModel | None:
    """Open what serving would open; None where nothing serves yet. A half-written one raises."""
    layout = FeatureRepo.load(folder).layout
    pointer = layout.models / "champion.json"
    return PredictionModel.load(layout.models / read_json(pointer)["version"]) if pointer.is_file() else None


def check_in_a_child(folder: Path, *, done: bool) -> int:
    """Check a repo in a fork: this process must never open a database that a later fork would share."""
    if child := os.fork():
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        model = champion(folder)
        registry = Registry(FeatureRepo.load(folder))
        version = registry.version_of(CHAMPION)
        if done:
            assert model is not None
            assert version == model.version, f"{version} is the champion, {model.version} serves"
            assert model.metadata["run_id"] == registry.client.get_model_version(registry.name, version).run_id
            assert len(mlflow.pyfunc.load_model(f"models:/{registry.name}@champion").metadata.signature.inputs) > 0
        elif model is not None:
            # The pointer comes last: what serves is the champion.
            assert version == model.version
        code = 0
    except (AssertionError, ModelUnavailable) as error:
        sys.stderr.write(f"{folder.name}: {type(error).__name__}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    start, work, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    get_settings()
    shutil.copytree(start, work / "whole")
    assert in_a_child(work / "whole", 0, work / "moves") == 0
    assert check_in_a_child(work / "whole", done=True) == 0
    total = int((work / "moves").read_text())
    last = [total - back for back in range(min(kills, PROMOTION))]
    spread = kills - len(last)
    chosen = sorted({*last, *(1 + (total - PROMOTION) * i // spread for i in range(spread))})
    for die_at in chosen:
        folder = work / f"killed-at-{die_at}-of-{total}"
        shutil.copytree(start, folder)
        assert os.WTERMSIG(in_a_child(folder, die_at)) == signal.SIGKILL, folder
        assert check_in_a_child(folder, done=False) == 0, folder
        assert in_a_child(folder, 0) == 0, folder
        assert check_in_a_child(folder, done=True) == 0, folder
        shutil.rmtree(folder)
    sys.stdout.write(f"{len(chosen)} {total}\n")


if __name__ == "__main__":
    main()
