"""Processes that do not outlive those who started them, however those end."""

from __future__ import annotations

import multiprocessing.process
import os
import signal
import threading
import time

_STOP_SECONDS = 30


def follow_parent() -> None:
    """Let a worker stop when its server is killed: an orphan would keep the port, and answer for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_stop_after, args=(parent,), name="parent-watch", daemon=True).start()


def follow_standard_input() -> None:
    """Stop when standard input closes: a pipe of whoever started us, which closes by itself when they are killed."""
    threading.Thread(target=_stop_at_end, name="parent-watch", daemon=True).start()


def _stop_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    _terminate()
    time.sleep(_STOP_SECONDS)  # for the answers under way and the log
    os._exit(1)


def _stop_at_end() -> None:
    # Not through sys.stdin: its lock would be held when the interpreter ends.
    while os.read(0, 1024):
        pass
    _terminate()


def _terminate() -> None:
    # To the main thread: one that waits is not woken by a signal that another thread takes.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
