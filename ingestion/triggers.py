"""What starts a flow besides people: the clock, and new data at the source."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from core.clock import SystemClock
from core.errors import Conflict, PunctualError
from ingestion.fetch import next_window
from ingestion.flow import KIND, Trigger, start_key

if TYPE_CHECKING:
    from core.jobs import Job, Jobs
    from core.repo import FeatureRepo
    from core.windows import Window

log = logging.getLogger("punctual.flow")


def start_flow(
    jobs: Jobs, trigger: Trigger, *, actor: str, key: str | None = None, arguments: dict[str, str] | None = None
) -> Job:
    """Queue a flow.

    Raises
    ------
    Conflict
        When one is queued or running already: flows change the same data, one after another.
    """
    return jobs.start(KIND, {"trigger": trigger, **(arguments or {})}, actor=actor, idempotency_key=key, alone=True)


def new_data(repo: FeatureRepo) -> Window | None:
    """Return the next window if all of it has arrived; a part of one is left to grow."""
    window = next_window(repo)
    if window is None:
        return None
    data = repo.problem.data
    whole = window.until - window.since >= data.step or window.until == data.end or window == data.initial
    return window if whole else None


class NewDataWatch:
    """Looks for new data every so often, in the one process that runs the jobs.

    Parameters
    ----------
    repo : FeatureRepo
        Whose source to look at.
    jobs : Jobs
        Where the flow is queued.
    seconds : float
        Between two looks.
    """

    def __init__(self, repo: FeatureRepo, jobs: Jobs, seconds: float) -> None:
        self._repo = repo
        self._jobs = jobs
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="new-data", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            if self._jobs.leads:
                self.look()

    def look(self) -> None:
        """Look once, and start a flow if there is something whole to fetch."""
        try:
            window = new_data(self._repo)
            if window is not None:
                key = start_key("new-data", SystemClock().now(), window.id)
                start_flow(self._jobs, "new-data", actor="new-data", key=key)
        except Conflict:
            return  # a flow is at work: the next look will see what is left
        except PunctualError as error:
            log.warning("cannot look for new data", extra={"detail": str(error)})


def on_schedule(jobs: Jobs) -> Callable[[datetime], Job]:
    """Return what the schedule calls: it starts a flow, one for each moment of the schedule."""

    def start(moment: datetime) -> Job:
        return start_flow(jobs, "schedule", actor="schedule", key=start_key("schedule", moment))

    return start
