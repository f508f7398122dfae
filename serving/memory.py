"""Gives memory back to the system.

What waits for the log is allocated by one thread and freed by another, in between what lives on: the C library keeps
the gaps. A busy worker would hold 200 MB of nothing after a minute.
"""

from __future__ import annotations

import ctypes
import sys

# It takes 10 to 15 ms, in which requests wait for memory too: after so many rows, of a few kilobytes each, it is due.
_ROWS = 1_500


class Trimmer:
    """Calls glibc's ``malloc_trim`` every now and then; where there is no glibc it does nothing."""

    def __init__(self, rows: int = _ROWS) -> None:
        self._most, self._rows = rows, 0
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None

    def maybe(self, rows: int) -> bool:
        """Trim, if by now so many rows were freed that it is due; say whether it was."""
        self._rows += rows
        if self._trim is None or self._rows < self._most:
            return False
        self._rows = 0
        self._trim(0)
        return True
