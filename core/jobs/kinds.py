"""What a service declares before its jobs are launched: queues, kinds of jobs, schedules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from croniter import croniter  # type: ignore[import-untyped]  # as DBOS does

from core.errors import ConfigError

if TYPE_CHECKING:
    from core.jobs.work import Work


@dataclass(frozen=True)
class Kind:
    """A kind of job: its function, its steps in order, and the queue it waits in."""

    name: str
    function: Callable[[Work, dict[str, Any]], Any]
    steps: tuple[str, ...]
    queue: str
    on_cancel: Callable[[str], None] | None = None
    on_retry: Callable[[str], None] | None = None
    on_give_up: Callable[[str], None] | None = None


@dataclass(frozen=True)
class Schedule:
    """A job that starts by the clock: cron expression, UTC; ``start`` gets the moment."""

    name: str
    cron: str
    start: Callable[[datetime], Any]


class Declared:
    """Collects what a service declares; :class:`core.jobs.Jobs` is one."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self._queues: dict[str, int] = {}
        self._schedules: list[Schedule] = []

    def queue(self, name: str, *, concurrency: int) -> None:
        """Declare a queue: at most ``concurrency`` of its jobs run at a time, in the order of their coming."""
        self._queues[name] = concurrency

    def register(
        self,
        kind: str,
        function: Callable[[Work, dict[str, Any]], Any],
        *,
        steps: tuple[str, ...],
        queue: str,
        on_cancel: Callable[[str], None] | None = None,
        on_retry: Callable[[str], None] | None = None,
        on_give_up: Callable[[str], None] | None = None,
    ) -> None:
        """Declare a kind of job.

        Parameters
        ----------
        kind : str
            Its name: lower case, digits and dashes.
        function : callable
            Gets a :class:`Work` and the arguments; returns plain data. Outside of its steps it must do the same each
            time, since it is run from its beginning again when it is resumed.
        steps : tuple of str
            The names of its steps, in order.
        queue : str
            Where it waits.
        on_cancel : callable, optional
            Called at least once with the id of a job that somebody has cancelled: by who does it and, since that may be
            cut off, by whoever runs the jobs.
        on_retry : callable, optional
            Called with the id of a job that somebody has retried, when it goes on.
        on_give_up : callable, optional
            Called by whoever runs the jobs, at least once, with the id of one that took its process with it too often:
            its function does not get to an end that could be recorded.

        Raises
        ------
        ConfigError
            When the queue was not declared.
        """
        if queue not in self._queues:
            raise ConfigError(f"The jobs {kind!r} wait in {queue!r}, which is no queue.", hint="Call queue() first.")
        self._kinds[kind] = Kind(kind, function, steps, queue, on_cancel, on_retry, on_give_up)

    def schedule(self, name: str, cron: str, start: Callable[[datetime], Any]) -> None:
        """Call ``start(moment)`` whenever a cron expression (UTC) says so, once over all processes.

        Raises
        ------
        ConfigError
            When the expression is none.
        """
        if not croniter.is_valid(cron, second_at_beginning=True):
            raise ConfigError(f"{cron!r} is no cron expression.", hint="For example, each Monday at three: 0 3 * * 1")
        self._schedules.append(Schedule(name, cron, start))
