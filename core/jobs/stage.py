"""Runs one stage of the pipeline as a process of its own: watched, logged, and stopped with the job or the service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from core import errors
from core.errors import JobFailed, PunctualError
from core.masks import mask_text
from core.progress import FORMAT, parse_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from core.jobs.work import Work

_TETHER = Path(__file__).with_name("tether.py")
_LOOK_SECONDS = 0.25
_GRACE_SECONDS = 5.0
_NOISE = ("ERROR: failed to reproduce", "Stopped. Run the same command")


def run_stage(
    work: Work,
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> list[str]:
    """Run a command as part of a job's step.

    Its lines go to the job's log, its progress to the job's. When the job is cancelled or the service stops, its whole
    process group is told to stop, and killed after 5 s; when the service is killed, so is the group, at once.

    Parameters
    ----------
    work : Work
        The job at work.
    command : sequence of str
        What to run.
    environment : mapping, optional
        Its environment; this process's own by default.
    cwd : Path, optional
        Its working directory.

    Returns
    -------
    list of str
        What it said, progress left out.

    Raises
    ------
    PunctualError
        What the command failed with: of the type and in the words of its own error line.
    """
    work.log(f"$ {' '.join(command)}")
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_TETHER), *command],
        env={**(environment or os.environ), FORMAT: "json", "COLUMNS": "200", "NO_COLOR": "1"},
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    said: list[str] = []
    try:
        for line in _lines(process):
            if line is None:
                work.check()  # cancelled, or the service stops: raises
            elif (found := parse_progress(line)) is not None:
                task, share, note = found
                work.advance(share, f"{task} {note}".strip())
            elif line.strip():
                said.append(mask_text(line))
                work.log(line)
    finally:
        _stop(process)
    if process.returncode != 0:
        raise failure(command, process.returncode, said)
    return said


def failure(command: Sequence[str], code: int, said: Sequence[str]) -> PunctualError:
    """Return what a command's last words mean: an error of ours keeps its type, so that what may pass is retried."""
    kinds = {kind.title: kind for kind in _kinds(PunctualError)}
    for line in reversed(said):
        title, colon, message = line.partition(": ")
        if colon and title in kinds and title != PunctualError.title:
            return kinds[title](message)
    telling = [line for line in said if not line.startswith(_NOISE)]
    last = telling[-1] if telling else "it said nothing"
    ended = f"was killed by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
    return JobFailed(f"`{' '.join(command)}` {ended}: {last}", hint="The job's log has all that it said.")


def _kinds(kind: type[PunctualError]) -> Iterator[type[PunctualError]]:
    for sub in kind.__subclasses__():
        if sub.__module__ == errors.__name__:
            yield sub
            yield from _kinds(sub)


def _lines(process: subprocess.Popen[str]) -> Iterator[str | None]:
    """Yield each line as it is said, and None at least every quarter of a second, until the process has ended."""
    queue: SimpleQueue[str | None] = SimpleQueue()

    def read() -> None:
        if process.stdout is not None:
            with process.stdout:  # closed by who reads it: closing under a reader would hang
                for line in process.stdout:
                    queue.put(line.rstrip("\n"))
        queue.put(None)

    reader = threading.Thread(target=read, name="stage-output", daemon=True)
    reader.start()
    yield None
    while True:
        ended = process.poll() is not None  # before the look: what it said last is heard then
        try:
            line = queue.get(timeout=_LOOK_SECONDS)
        except Empty:
            # What the command left running may hold its output open: the command's end is the end.
            if ended:
                return
            yield None
            continue
        if line is None:
            process.wait()
            return
        yield line
        if queue.empty():
            yield None


def _stop(process: subprocess.Popen[str]) -> None:
    """End the whole group, politely if there is anything left to be polite to."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):  # then the next line does not ask
            process.wait(_GRACE_SECONDS)
    _signal(process, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _signal(process: subprocess.Popen[str], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone; macOS says it the second way
        os.killpg(process.pid, number)
