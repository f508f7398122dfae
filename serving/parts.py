"""What a log is made of: lines of JSON as they were taken, and the Parquet parts that are made of them.

Making Parquet of rows takes the interpreter several times as long as writing their lines, so a worker, whose
interpreter answers requests, only writes lines, to a file (:class:`Lines`) in a folder beside the log's. Another
process makes a part of each file (:class:`Gatherer`) that is closed, or whose worker is gone, and removes it. A part of
the same lines has the same name and content, whoever makes it, so that it does no harm when one is interrupted and
another begins again.
"""

from __future__ import annotations

import fcntl
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
from time import perf_counter

import pyarrow as pa
import pyarrow.parquet as pq

from core.files import atomic_path, locked, sync

log = logging.getLogger("punctual.predictions")

ELSEWHERE = "PUNCTUAL_PARTS_ELSEWHERE"  # set for workers beside which a Gatherer runs
_SUFFIX, _OPEN, _UNREADABLE, _LOCK = ".rows", ".open", ".unreadable", ".lock"
_NO_ROWS = (ValueError, LookupError, TypeError)  # what lines are not of which no rows can be made
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


class Lines:
    """A file of lines that grows. Whatever becomes of the process that writes it, what was added stays.

    Parameters
    ----------
    folder : Path
        Root of the log's parts.
    first : datetime
        When the first line was taken.

    Attributes
    ----------
    first : datetime
        As it was given.
    rows : int
        Rows that were added.

    Raises
    ------
    OSError
        When the disk does not take it; so do the methods.
    """

    def __init__(self, folder: Path, first: datetime) -> None:
        self.first, self.rows = first, 0
        self._begun, self._size = perf_counter(), 0
        # Chance, because workers of several machines may share the disk, and number their processes alike.
        name = f"{first:%Y%m%dT%H%M%S%f}-{secrets.token_hex(6)}-{os.getpid()}"
        self._path = _lines_of(folder) / f"{name}{_OPEN}"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        hidden = self._path.with_name(f".{name}.tmp")
        self._file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)  # held as long as the process lives: who sees the file sees that
            hidden.rename(self._path)
            sync(self._path.parent)
        except OSError:
            os.close(self._file)
            raise

    @property
    def age(self) -> float:
        """Seconds since it was begun."""
        return perf_counter() - self._begun

    def add(self, lines: Sequence[bytes], rows: int) -> None:
        """Add lines, all or none of them."""
        left = memoryview(b"".join(line + b"\n" for line in lines))
        size = self._size + len(left)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size = size
        self.rows += rows

    def close(self) -> None:
        """Have the disk keep it, and leave it to :func:`gather`."""
        os.fsync(self._file)
        with suppress(FileNotFoundError):  # somebody has removed it: nothing can be made of it any more
            self._path.rename(self._path.with_suffix(_SUFFIX))
        os.close(self._file)


def gather(folder: Path, kind: Kind) -> None:
    """Make a part of every file of lines that nobody adds to any more, the oldest first; waits for whoever is at it.

    Lines that cannot be read are said, and kept in a file of their own.

    Raises
    ------
    OSError
        When the disk does not take a part; its lines stay.
    """
    if not _files(folder, _SUFFIX) and not _files(folder, _OPEN):
        return
    with locked(_lines_of(folder) / _LOCK):
        for path in _files(folder, _OPEN):
            _close_if_left(path)
        for path in _files(folder, _SUFFIX):
            _make_part(folder, kind, path)


def _close_if_left(path: Path) -> None:
    """Close a file whose writer is gone; a line that it was writing when the machine went is no line."""
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(file.read().rfind(b"\n") + 1)
            path.rename(path.with_suffix(_SUFFIX))
    except (BlockingIOError, FileNotFoundError):
        return  # it is being written, or was closed just now


def _make_part(folder: Path, kind: Kind, path: Path) -> None:
    lines, by = path.read_bytes().splitlines(), path.stem.rpartition("-")[2]
    try:
        write_part(folder, kind, lines, by)
    except _NO_ROWS as error:
        readable: list[bytes] = []
        others: list[bytes] = []
        for line in lines:
            (readable if _is_readable(kind, line) else others).append(line)
        if others:
            log.error("lines of the log cannot be read", extra={"path": str(path), "error": repr(error)})
            with atomic_path(path.with_suffix(_UNREADABLE)) as kept:
                kept.write_bytes(b"\n".join(others))
        if readable:
            write_part(folder, kind, readable, by)
    path.unlink()


def _is_readable(kind: Kind, line: bytes) -> bool:
    try:
        kind.table([line])
    except _NO_ROWS:
        return False
    return True


def oldest(folder: Path) -> float | None:
    """Return when the oldest lines that wait for their part were written, in seconds since 1970 UTC."""
    for path in _files(folder, _SUFFIX):
        with suppress(FileNotFoundError):
            return path.stat().st_mtime
    return None


def _lines_of(folder: Path) -> Path:
    return folder.parent / "spool" / folder.name


def _files(folder: Path, suffix: str) -> list[Path]:
    return sorted(_lines_of(folder).glob(f"[!.]*{suffix}"))


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
