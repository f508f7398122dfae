"""DuckDB connections and the little SQL that everyone needs: quoting, literals, bounded memory and time, UTC."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from core import interrupts
from core.settings import get_settings

_AGAIN = 0.05  # s; a query that was only beginning forgets an interruption from before its start


def quote(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str | Path) -> str:
    """Return ``value`` as a quoted SQL string."""
    return "'" + str(value).replace("'", "''") + "'"


def moment(value: datetime) -> str:
    """Return a timezone-aware moment as a SQL ``TIMESTAMPTZ`` literal, microseconds kept."""
    return f"TIMESTAMPTZ '{value.astimezone(UTC).isoformat(sep=' ')}'"


def connect(
    *, memory: str | None = None, threads: int | None = None, temporary: Path | str | None = None
) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB that thinks in UTC and spills to disk rather than grow.

    Parameters
    ----------
    memory : str, optional
        Memory limit such as ``"2GB"``; default: ``PUNCTUAL_DUCKDB_MEMORY``.
    threads : int, optional
        Worker threads; default: ``PUNCTUAL_DUCKDB_THREADS``.
    temporary : path, optional
        Folder for spilled data; default: the system's.
    """
    settings = get_settings()
    con = duckdb.connect(
        config={
            "memory_limit": memory or settings.duckdb_memory,
            "threads": threads or settings.duckdb_threads,
            "temp_directory": str(temporary or Path(tempfile.gettempdir()) / "punctual-duckdb"),
            "autoinstall_known_extensions": False,  # nothing is downloaded behind the user's back
            "preserve_insertion_order": True,
        }
    )
    return _prepared(con)


def cursor(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Return a second connection to the database of ``con``, for another thread, which also thinks in UTC."""
    return _prepared(con.cursor())


@contextmanager
def no_longer_than(con: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[Callable[[], bool]]:
    """Interrupt whatever a connection is at from then on, until the block is left; give what says if it is so far.

    A query that is interrupted raises ``duckdb.InterruptException``.
    """
    end, left = time.monotonic() + seconds, threading.Event()

    def stop() -> None:
        wait = seconds
        while not left.wait(wait):
            con.interrupt()
            wait = _AGAIN

    watching = threading.Thread(target=stop, name="query-watch", daemon=True)
    watching.start()
    try:
        yield lambda: time.monotonic() >= end
    finally:
        left.set()
        watching.join()


def _prepared(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    con.execute("SET TimeZone = 'UTC'")
    interrupts.note(con)
    return con
