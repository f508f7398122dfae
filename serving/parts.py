"""What a log is made of: lines of JSON as they were taken, and the Parquet parts that are made of them.

Making Parquet of rows takes the interpreter several times as long as writing their lines, so a worker, whose
interpreter answers requests, only writes lines. They are whole files in a folder beside the log's; another process
makes a part of each (:class:`Gatherer`), and removes it. A part of the same lines has the same name and content,
whoever makes it, so that it does no harm when one is interrupted and another begins again.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.files import atomic_path, locked

log = logging.getLogger("punctual.predictions")

ELSEWHERE = "PUNCTUAL_PARTS_ELSEWHERE"  # set for workers beside which a Gatherer runs
_SUFFIX, _UNREADABLE, _LOCK = ".rows", ".unreadable", ".lock"
_NICE = 10
_EVERY_SECONDS = 0.25


@dataclass(frozen=True)
class Kind:
    """What a log's lines mean.

    Attributes
    ----------
    table : callable
        Makes the rows of lines; there is a column ``prediction_id``.
    moment : str
        The column that says which day a part belongs to.
    repeating : sequence of str
        Columns of few values; a dictionary of others would be work for nothing.
    """

    table: Callable[[Sequence[bytes]], pa.Table]
    moment: str
    repeating: Sequence[str]


def write_part(folder: Path, kind: Kind, lines: Sequence[bytes], by: str) -> None:
    """Write lines as ``folder/<day>/<prediction id of the first>-<by>.parquet``, whole or not at all."""
    table = kind.table(lines)
    day = table[kind.moment][0].as_py().strftime("%Y-%m-%d")
    path = folder / day / f"{table['prediction_id'][0].as_py()}-{by}.parquet"
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", use_dictionary=list(kind.repeating))


def write_lines(folder: Path, lines: Sequence[bytes], first: datetime) -> None:
    """Write lines, the first of which was taken at a moment, for :func:`gather` to make a part of."""
    # Chance, because workers of several machines may share the disk, and number their processes alike.
    name = f"{first:%Y%m%dT%H%M%S%f}-{secrets.token_hex(6)}-{os.getpid()}{_SUFFIX}"
    with atomic_path(_lines_of(folder) / name) as temporary:
        temporary.write_bytes(b"\n".join(lines))


def gather(folder: Path, kind: Kind) -> None:
    """Make a part of every file of lines, the oldest first; waits for whoever is at it already.

    One that cannot be read is said, and kept under another name.

    Raises
    ------
    OSError
        When the disk does not take a part; its lines stay.
    """
    if not _waiting(folder):
        return
    with locked(_lines_of(folder) / _LOCK):
        for path in _waiting(folder):
            lines = path.read_bytes().split(b"\n")
            try:
                write_part(folder, kind, lines, path.stem.rpartition("-")[2])
            except (ValueError, LookupError, TypeError) as error:
                log.error("lines of the log cannot be read", extra={"path": str(path), "error": repr(error)})
                path.replace(path.with_suffix(_UNREADABLE))
            else:
                path.unlink()


def oldest(folder: Path) -> float | None:
    """Return when the oldest lines that wait for their part were written, in seconds since 1970 UTC."""
    for path in _waiting(folder):
        with suppress(FileNotFoundError):
            return path.stat().st_mtime
    return None


def _lines_of(folder: Path) -> Path:
    return folder.parent / "spool" / folder.name


def _waiting(folder: Path) -> list[Path]:
    return sorted(_lines_of(folder).glob(f"[!.]*{_SUFFIX}"))


class Gatherer:
    """A thread that makes parts of what workers write, behind them wherever the processor is wanted.

    Parameters
    ----------
    kinds : mapping of Path to Kind
        The logs by their folders.
    """

    def __init__(self, kinds: Mapping[Path, Kind]) -> None:
        self._kinds = kinds
        self._stop = threading.Event()
        self._failing = ""
        self._thread = threading.Thread(target=self._run, name="gatherer", daemon=True)

    def start(self) -> None:
        """Start; what earlier runs left is the first to be made."""
        self._thread.start()

    def close(self) -> None:
        """Make parts of all that is there, and stop."""
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        stopping = False
        while not stopping:
            stopping = self._stop.wait(_EVERY_SECONDS)
            try:
                for folder, kind in self._kinds.items():
                    gather(folder, kind)
            except OSError as error:
                if not self._failing:
                    log.error("parts of the log cannot be written", extra={"error": str(error)})
                self._failing = str(error)
            else:
                self._failing = ""
