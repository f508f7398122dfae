"""Progress that people can watch: bars on a terminal, a line a step elsewhere, JSON for a job that runs us."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

console = Console(stderr=True, highlight=False)
_inside: ContextVar[bool] = ContextVar("inside", default=False)

FORMAT = "PUNCTUAL_PROGRESS"  # "json": one JSON object a line and advance on standard error
MARK = "punctual_progress"


class Advance(Protocol):
    """Tells the bar that ``steps`` more are done."""

    def __call__(self, steps: int = 1, *, note: str = "") -> None:
        """Advance by ``steps``; ``note`` says what is being done."""
        ...


@contextmanager
def progress(task: str, total: int | None = None) -> Iterator[Advance]:
    """Show a bar for ``task`` while the block runs; what shows a bar of its own inside of it shows none.

    Parameters
    ----------
    task : str
        What is being done.
    total : int, optional
        Number of steps; without it the bar only shows that something is alive.
    """
    if _inside.get():
        yield lambda steps=1, *, note="": None
        return
    token = _inside.set(True)
    try:
        with _shown(task, total) as advance:
            yield advance
    finally:
        _inside.reset(token)


@contextmanager
def _shown(task: str, total: int | None) -> Iterator[Advance]:
    if os.environ.get(FORMAT) == "json":
        yield _json_lines(task, total)
        return
    if not sys.stderr.isatty():
        console.print(f"{task} ...")
        yield lambda steps=1, *, note="": None
        return
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )
    with bar:
        task_id = bar.add_task(task, total=total, note="")

        def advance(steps: int = 1, *, note: str = "") -> None:
            bar.update(task_id, advance=steps, note=note)

        yield advance
        bar.update(task_id, note="", completed=total if total is not None else 1, total=total or 1)


def _json_lines(task: str, total: int | None) -> Advance:
    done = 0

    def say(note: str) -> None:
        line = {MARK: task, "done": done, "total": total, "note": note}
        print(json.dumps(line), file=sys.stderr, flush=True)  # noqa: T201 - what the job that runs us reads

    def advance(steps: int = 1, *, note: str = "") -> None:
        nonlocal done
        done += steps
        say(note)

    say("")
    return advance


def parse_progress(line: str) -> tuple[str, float | None, str] | None:
    """Read what a line of ``PUNCTUAL_PROGRESS=json`` says.

    Returns
    -------
    tuple or None
        Task, share that is done (None where the total is not known), note; None for any other line.
    """
    if not line.startswith('{"' + MARK):
        return None
    try:
        said = json.loads(line)
        total = said["total"]
        share = min(1.0, said["done"] / total) if total else None
        return str(said[MARK]), share, str(said["note"])
    except (ValueError, KeyError, TypeError):
        return None
