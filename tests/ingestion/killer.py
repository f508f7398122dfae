"""Runs each step of ingestion again and again, killed with -9 at each ``stride``-th of its file system moves in turn.

Run as ``python -m tests.ingestion.killer <repo> <work folder> <stride>``; prints the steps and how often each was
killed. Forks from one process that has imported everything, so that a hundred kills cost no hundred imports.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
from pathlib import Path

import feast.repo_operations  # noqa: F401 - imported once here rather than in every fork
import pandera.pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401

import ingestion.fetch
import ingestion.transform
import ingestion.validate
from core.repo import FeatureRepo
from core.settings import get_settings
from stores.registry import open_store
from tests.ingestion.loans import window
from tests.repos.killing import in_a_child

WATCHED = {"fetch": "raw", "validate": "valid", "transform": "features"}


def step(name: str, repo: FeatureRepo) -> None:
    if name == "fetch":
        for one in (window(0, 9), window(9, 10)):
            ingestion.fetch.fetch_window(repo, one)
    elif name == "validate":
        ingestion.validate.validate_all(repo)
    else:
        ingestion.transform.transform(repo)


def state(folder: Path) -> dict[str, str]:
    # Names with a dot in front are unfinished work: no reader looks at them.
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    }


def killed(name: str, folder: Path, die_at: int) -> int:
    """Run a step in a fork that is killed before its ``die_at``-th move (0: never); return its wait status."""
    return in_a_child(lambda: step(name, FeatureRepo.load(folder)), die_at)


def sweep(name: str, start: Path, work: Path, stride: int) -> int:
    """Kill one step at every ``stride``-th move, from the same start; return how often."""
    shutil.copytree(start, work / name)
    assert killed(name, work / name, 0) == 0
    whole = state(work / name / "data" / WATCHED[name])
    assert whole
    kills = 0
    while True:
        folder = work / f"{name}-{kills}"
        shutil.copytree(start, folder)
        status = killed(name, folder, 1 + kills * stride)
        if status == 0:
            return kills
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        # What shows after the kill is whole files of the right content, and the next run ends where it should.
        after = state(folder / "data" / WATCHED[name])
        assert after.items() <= whole.items(), set(after.items()) - set(whole.items())
        assert killed(name, folder, 0) == 0
        assert state(folder / "data" / WATCHED[name]) == whole
        shutil.rmtree(folder)
        kills += 1


def main() -> None:
    start, work, stride = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    get_settings()
    open_store(FeatureRepo.load(start))
    for name in WATCHED:
        print(name, sweep(name, start, work, stride))  # noqa: T201 - the test reads it
        start = work / name  # the next step begins where this one ended


if __name__ == "__main__":
    main()
