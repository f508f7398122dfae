"""Puts rows on disk by a thread: nobody waits for the disk, and what it has not taken yet is bounded and known.

What is in memory is written as lines within a twentieth of a second, and at a stop: a killed process loses no more
than that. What the disk refuses is tried again. A second of lines, or plenty of them, is a file of its own, of which a
part is made: :mod:`serving.parts`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from core.clock import SystemClock, epoch_seconds
from core.errors import Unavailable
from serving.parts import ELSEWHERE, Kind, Lines, gather, oldest

log = logging.getLogger("punctual.predictions")

_PART_ROWS = 5_000
_SETTLE_SECONDS = 0.05
_RETRY_SECONDS = 1.0


class Taken:
    """Rows that were taken together, and their line once somebody has encoded it."""

    __slots__ = ("_content", "_line", "at", "count")

    def __init__(self, content: Any, count: int, at: datetime) -> None:
        self._content, self.count, self.at = content, count, at
        self._line: bytes | None = None

    def line(self) -> bytes:
        """Return the rows as a line of JSON.

        The interpreter runs one thread at a time, and two that both want it take longer than one after the other: the
        line is best made by whoever took the rows, at a moment when there is nothing else to do.
        """
        content, line = self._content, self._line  # in this order: the content goes when the line is there
        if line is None:
            try:
                line = orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z)
            except TypeError as error:  # no other rows wait for these: the line is kept as one that cannot be read
                line = orjson.dumps(f"{self.count} rows of {self.at}: {error}")
            self._line, self._content = line, None
        return line


@dataclass(frozen=True)
class Lag:
    """How far the disk is behind.

    Attributes
    ----------
    waiting : int
        Rows in memory.
    failing : str
        The last error of the disk, empty when the last write went well.
    """

    waiting: int
    failing: str


class PartWriter:
    """Writes rows to a log.

    Parameters
    ----------
    folder : Path
        Root of the parts.
    kind : Kind
        What they are made of.
    flush_seconds : float
        How long lines wait for others, of which one part is made together.
    """

    def __init__(self, folder: Path, kind: Kind, *, flush_seconds: float = 1.0) -> None:
        self._folder, self._kind = folder, kind
        self._elsewhere = ELSEWHERE in os.environ
        self._flush_seconds = flush_seconds
        self._waiting: deque[Taken] = deque()
        self._wake = threading.Condition()
        self._written = threading.Condition()
        self._lines: Lines | None = None
        # Rows since the start: taken, written as lines, in files that are left to become parts.
        self._taken = self._done = self._left = 0
        self._closing = False
        self._hurry = False
        self._failing = ""
        self._thread = threading.Thread(target=self._write_forever, name=f"writer-{folder.name}", daemon=True)
        self._thread.start()

    @property
    def lag(self) -> Lag:
        """How many rows wait, and what the disk last complained of."""
        return Lag(self._taken - self._done, self._failing)

    def waited(self) -> float:
        """Return for how many seconds the oldest row has waited for its part; 0 when none does."""
        left, lines, waits = oldest(self._folder), self._lines, 0.0
        if left is not None:
            waits = epoch_seconds() - left
        with suppress(IndexError):  # nothing is in memory
            waits = max(waits, (SystemClock().now() - (lines.first if lines else self._waiting[0].at)).total_seconds())
        return max(0.0, waits)

    def take(self, content: Any, count: int, at: datetime) -> Taken:
        """Take ``count`` rows, of which the log's kind can make sense as JSON; does not wait for the disk.

        Parameters
        ----------
        at : datetime
            Now, by the machine's clock.
        """
        taken = Taken(content, count, at)
        self._waiting.append(taken)
        self._taken += count  # in this order: what is counted is there
        if self._taken - self._done >= _PART_ROWS:
            with self._wake:
                self._wake.notify()
        return taken

    def flush(self, timeout: float = 10.0) -> None:
        """Wait until everything taken so far, and what other workers have left, is in parts.

        Raises
        ------
        Unavailable
            When the disk does not take it in time.
        """
        target = self._taken
        with self._wake:
            self._hurry = True
            self._wake.notify()
        with self._written:
            if not self._written.wait_for(lambda: self._left >= target, timeout):
                late = target - self._left
                raise Unavailable(f"{late} predictions could not be logged yet. {self._failing}".strip())
        if self._elsewhere:
            try:
                gather(self._folder, self._kind)
            except OSError as error:
                raise Unavailable(f"Predictions could not be logged yet. {error}") from error

    def close(self, timeout: float = 30.0) -> None:
        """Write what waits and stop; what the disk refuses until ``timeout`` is counted in the service's log."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout)
        if self.lag.waiting:
            log.error("predictions lost at stop", extra={"count": self.lag.waiting, "error": self._failing})

    def _write_forever(self) -> None:
        closing = False
        while not closing:
            with self._wake:
                self._wake.wait_for(self._is_due, _SETTLE_SECONDS)
                hurry, closing = self._hurry or self._closing, self._closing
                self._hurry = False
            if self._write_waiting(hurry):
                continue
            with self._wake:
                self._hurry |= hurry  # whoever flushes still waits
                self._wake.wait_for(lambda: self._closing, _RETRY_SECONDS)

    def _is_due(self) -> bool:
        return self._closing or self._hurry or self._taken - self._done >= _PART_ROWS

    def _write_waiting(self, hurry: bool) -> bool:
        """Return whether the disk took what waits by now, and is left with it where that is due."""
        last = self._taken  # what comes in from here on waits for the next time
        try:
            while self._done < last:
                self._add(self._next(last))
                self._leave(hurry=False)
            self._leave(hurry)
        except Exception as error:  # noqa: BLE001 - the thread goes on: whoever wants to predict is told what is wrong
            said = str(error) or repr(error)  # empty is what means that the last write went well
            if not self._failing:
                log.error("the prediction log cannot be written", extra={"error": said})
            self._failing = said
            return False
        return True

    def _add(self, some: Sequence[Taken]) -> None:
        """Add the oldest rows to a file of lines; they leave memory only once they are there."""
        if self._lines is None:
            self._lines = Lines(self._folder, some[0].at)
        rows = sum(taken.count for taken in some)
        self._lines.add([taken.line() for taken in some], rows)
        for _ in some:
            self._waiting.popleft()
        self._done += rows

    def _next(self, last: int) -> list[Taken]:
        """Return about as many rows as a part is to have, none after ``last``."""
        some: list[Taken] = []
        end = self._done
        while end < last and end - self._done < _PART_ROWS:
            some.append(self._waiting[len(some)])  # by its place: others append meanwhile
            end += some[-1].count
        return some

    def _leave(self, hurry: bool) -> None:
        """Leave the file of lines to become a part, when it is time for that."""
        lines = self._lines
        if lines is not None:
            if not hurry and lines.age < self._flush_seconds and lines.rows < _PART_ROWS:
                return
            lines.close()
            self._lines = None
        if self._left == self._done:
            return
        if not self._elsewhere:
            gather(self._folder, self._kind)
        self._failing = ""
        with self._written:
            self._left = self._done
            self._written.notify_all()
