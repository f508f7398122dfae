"""Puts rows on disk by a thread: nobody waits for the disk, and what it has not taken yet is bounded and known.

What waits in memory is written when it is plenty, after a second, and at a stop. A crash loses what waits; what the
disk refuses is tried again. Where the rows go: :mod:`serving.parts`.
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
from serving.parts import ELSEWHERE, Kind, gather, oldest, write_lines, write_part

log = logging.getLogger("punctual.predictions")

_PART_ROWS = 5_000
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
            line = self._line = orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z)
            self._content = None
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
        How long a row waits at most before it is written, while the disk keeps up.
    """

    def __init__(self, folder: Path, kind: Kind, *, flush_seconds: float = 1.0) -> None:
        self._folder, self._kind = folder, kind
        self._elsewhere = ELSEWHERE in os.environ
        self._flush_seconds = flush_seconds
        self._waiting: deque[Taken] = deque()
        self._wake = threading.Condition()
        self._written = threading.Condition()
        self._taken = self._done = 0  # rows since the start
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
        written = oldest(self._folder) if self._elsewhere else None
        waits = 0.0 if written is None else epoch_seconds() - written
        with suppress(IndexError):  # nothing is in memory
            waits = max(waits, (SystemClock().now() - self._waiting[0].at).total_seconds())
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
        """Wait until everything taken so far, and what other workers have written, is in parts.

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
            if not self._written.wait_for(lambda: self._done >= target, timeout):
                raise Unavailable(f"{self.lag.waiting} predictions could not be logged yet. {self._failing}".strip())
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
                self._wake.wait_for(self._is_due, self._flush_seconds)
                self._hurry, closing = False, self._closing
            self._write_waiting()

    def _write_waiting(self) -> None:
        """Write what waits by now, trying until the disk takes it; when stopping, only once."""
        last = self._taken  # what comes in from here on waits for the next part
        while self._done < last:
            if self._write_part(self._next(last)):
                continue
            with self._wake:
                if self._wake.wait_for(lambda: self._closing, _RETRY_SECONDS):
                    return

    def _next(self, last: int) -> list[Taken]:
        """Return what the next part is made of: about as many rows as one is to have, none after ``last``."""
        some: list[Taken] = []
        end = self._done
        while end < last and end - self._done < _PART_ROWS:
            some.append(self._waiting[len(some)])  # by its place: others append meanwhile
            end += some[-1].count
        return some

    def _is_due(self) -> bool:
        return self._closing or self._hurry or self._taken - self._done >= _PART_ROWS

    def _write_part(self, some: Sequence[Taken]) -> bool:
        """Write the oldest rows; they leave memory only once they are on disk."""
        try:
            lines = [taken.line() for taken in some]
            if self._elsewhere:
                write_lines(self._folder, lines, some[0].at)
            else:
                write_part(self._folder, self._kind, lines, str(os.getpid()))
        except Exception as error:  # noqa: BLE001 - the thread goes on: whoever wants to predict is told what is wrong
            said = str(error) or repr(error)  # empty is what means that the last write went well
            if not self._failing:
                log.error("the prediction log cannot be written", extra={"error": said})
            self._failing = said
            return False
        self._failing = ""
        with self._written:
            for taken in some:
                self._waiting.popleft()
                self._done += taken.count
            self._written.notify_all()
        return True
