"""Holds processes to a part of a core each, so that a small machine has cores to spare for what they are measured with.

By Linux's control groups, of version 1 or 2; only root may make them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 10_000  # µs; short beside an answer's time, so that nobody waits long for the next


@contextmanager
def held(share: float) -> Iterator[Callable[[int], None] | None]:
    """Give what holds a process, by its pid, to ``share`` of one core; None where that cannot be done.

    The processes must have ended when the block does.
    """
    made: list[Path] = []
    quota = str(round(share * _PERIOD))

    def hold(pid: int) -> None:
        folder = _home() / f"punctual-{pid}"
        folder.mkdir()
        made.append(folder)
        if (folder / "cpu.max").exists():
            (folder / "cpu.max").write_text(f"{quota} {_PERIOD}")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (folder / "cpu.cfs_quota_us").write_text(quota)
        (folder / "cgroup.procs").write_text(str(pid))

    try:
        yield hold if _allowed() else None
    finally:
        for folder in made:
            with suppress(OSError):  # one that is left over does no harm
                folder.rmdir()


def _home() -> Path:
    return _ROOT / "cpu" if (_ROOT / "cpu" / "cgroup.procs").exists() else _ROOT


def _allowed() -> bool:
    home = _home()
    if not os.access(home, os.W_OK):
        return False
    if (controllers := home / "cgroup.subtree_control").exists():  # of version 2: what its groups may limit
        return "cpu" in controllers.read_text().split()
    return (home / "cpu.cfs_quota_us").exists()
