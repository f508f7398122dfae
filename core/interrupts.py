"""Ctrl-C reaches work outside Python.

Python hears of Ctrl-C when native code returns to it. DuckDB looks for it while its main thread works, but not while
that thread waits for the others, which can be a whole query: then nothing happens for minutes. So work that can be
told to stop is noted here, and a thread that the signal wakes at once tells it.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from typing import Protocol
from weakref import WeakSet


class Interruptible(Protocol):
    """Work that another thread may ask to stop, such as a DuckDB connection."""

    def interrupt(self) -> None:
        """Stop soon; may be called from any thread, and when nothing runs."""


_AGAIN = 0.2  # s; a query that was only beginning forgets an interruption from before its start
_open: WeakSet[Interruptible] = WeakSet()
_lock = threading.Lock()


def note(work: Interruptible) -> None:
    """Let Ctrl-C interrupt ``work`` for as long as it lives."""
    with _lock:
        _open.add(work)


def watch() -> None:
    """From now on interrupt all noted work at SIGINT. Call once, in the main thread; Python's own handling stays."""
    ours, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.detach(), warn_on_full_buffer=False)
    threading.Thread(target=_interrupt_at, args=(ours,), name="interrupts", daemon=True).start()


def _interrupt_at(signals: socket.socket) -> None:
    while arrived := signals.recv(64):  # each byte is a signal's number
        if signal.SIGINT in arrived:
            _interrupt()
            time.sleep(_AGAIN)
            _interrupt()


def _interrupt() -> None:
    with _lock:
        working = list(_open)
    for work in working:
        with contextlib.suppress(Exception):  # already closed: nothing to stop
            work.interrupt()
