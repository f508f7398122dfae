"""Gives memory back to the system.

What waits for the log is allocated by one thread and freed by another, in between what lives on: the C library keeps
the gaps. A busy worker would hold 200 MB of nothing after a minute.
"""

from __future__ import annotations

import ctypes
import sys
from time import monotonic

# It takes 10 to 15 ms, in which requests wait for memory too: seldom enough to be no matter for one in a hundred.
_SECONDS = 5.0


class Trimmer:
    """Calls glibc's ``malloc_trim`` every now and then; where there is no glibc it does nothing."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds, self._last = seconds, monotonic()
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None

    def maybe(self) -> bool:
        """Trim, if it is due; say whether it was."""
        now = monotonic()
        if self._trim is None or now - self._last < self._seconds:
            return False
        self._last = now
        self._trim(0)
        return True
