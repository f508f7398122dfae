"""A job's log: one file a job, appended line by line, readable while it grows, without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.clock import SystemClock
from core.masks import mask_text

if TYPE_CHECKING:
    from pathlib import Path

MAX_LINES = 20_000
MAX_CHARACTERS = 2_000  # of one line


class JobLog:
    """The log of one job.

    Parameters
    ----------
    path : Path
        Where it is; the folder is made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: int | None = None

    def write(self, text: str) -> None:
        """Append what is said, each line with its moment, UTC; beyond ``MAX_LINES`` a log only says that it is full."""
        now = f"{SystemClock().now():%Y-%m-%dT%H:%M:%SZ}"
        if self._lines is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lines = len(self.read())
        new = [f"{now} {mask_text(line)[:MAX_CHARACTERS]}\n" for line in text.splitlines() if line.strip()]
        room = MAX_LINES - self._lines
        if room <= 0:
            return
        if len(new) >= room:
            new = [*new[: room - 1], f"{now} (The log is full: {MAX_LINES} lines.)\n"]
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(new)
        self._lines += len(new)

    def read(self, since: int = 0) -> list[str]:
        """Return the whole lines from line ``since`` (0 is the first) on."""
        if not self._path.is_file():
            return []
        with self._path.open(encoding="utf-8", errors="replace") as file:
            lines = [line.rstrip("\n") for line in file if line.endswith("\n")]
        return lines[since:]
