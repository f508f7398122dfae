"""Progress that people can watch: bars on a terminal, a line a step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


class Advance(Protocol):
    """Tells the bar that ``steps`` more are done."""

    def __call__(self, steps: int = 1, *, note: str = "") -> None:
        """Advance by ``steps``; ``note`` says what is being done."""
        ...


@contextmanager
def progress(task: str, total: int | None = None) -> Iterator[Advance]:
    """Show a bar for ``task`` while the block runs.

    Parameters
    ----------
    task : str
        What is being done.
    total : int, optional
        Number of steps; without it the bar only shows that something is alive.
    """
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
