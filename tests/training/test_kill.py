"""Killed with -9 anywhere in training, what served goes on serving, and the next training ends well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


KILLS = 20


@pytest.mark.slow
def test_killed_anywhere_there_is_never_a_half_registered_champion(trainable, tmp_path):
    trainable.problem(candidates=["logistic"])
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.killer", trainable.folder, tmp_path / "work", str(KILLS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made, moves = map(int, done.stdout.split()[-2:])
    assert made == KILLS
    assert moves > 20
