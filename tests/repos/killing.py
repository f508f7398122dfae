"""Runs something in a fork that kills itself with -9 before its n-th move of the file system, or commit.

Forks from a process that has imported everything, so that a hundred kills cost no hundred imports.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import sqlalchemy


def in_a_child(run: Callable[[], object], die_at: int = 0, moves_file: Path | None = None) -> int:
    """Run in a fork that kills itself before its ``die_at``-th move (0: never); return its wait status.

    Moves are ``fsync``, ``Path.replace`` and commits of SQLAlchemy; with ``moves_file`` their number is written there.
    """
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
        run()
        if moves_file is not None:
            moves_file.write_text(str(moves))
        code = 0
    finally:
        if code:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
