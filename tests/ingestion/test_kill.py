"""Killed with -9 at any moment, a step resumes and ends with the same bytes as one that was left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_killed_a_step_resumes_to_the_same_bytes(loans, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.ingestion.killer", loans.folder, tmp_path / "work", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills = dict(line.split() for line in done.stdout.splitlines())
    assert set(kills) == {"fetch", "validate", "transform"}
    assert all(int(count) >= 10 for count in kills.values()), kills
