"""A job at work: what its function sees."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from dbos import DBOS
from dbos import error as dbos_error

from core.clock import SystemClock
from core.errors import DatabaseUnavailable, PunctualError, SourceError, Unavailable
from core.jobs.model import words
from core.jobs.store import away, unavailable

if TYPE_CHECKING:
    from dbos import DBOSClient

    from core.jobs.logs import JobLog
    from core.jobs.store import Store

# What is away for a minute does not fail a job: 2 + 4 + 8 + 16 + 32 s.
ATTEMPTS = 6
PAUSE_SECONDS = 2.0
_Result = TypeVar("_Result")
_WRITE_SECONDS = 0.5
_LOOK_SECONDS = 0.4
_AWAY_SECONDS = 1.0
_BACKOFF = 2.0


class Stopping(BaseException):
    """The service stops: what is at work is left as it is, to be taken up again at the next start.

    Not an ``Exception``: nobody may take it for a failure of the job and record it as one.
    """


def worth_another_try(error: BaseException) -> bool:
    """Return whether an error may be gone in a while: something is away, or a source hiccups."""
    return isinstance(error, Unavailable | SourceError)


def waited_out(question: Callable[[], _Result], store: Store, stopping: threading.Event, log: JobLog) -> _Result:
    """Ask the job store until it answers: that it is away is no failure of the job that asks.

    Raises
    ------
    Stopping
        When the service stops, or has lost the store for so long that another may run its jobs.
    DatabaseUnavailable
        When the store is there and refuses.
    """
    waits = False
    while True:
        try:
            with unavailable(store):
                answer = question()
        except DatabaseUnavailable as error:
            if not away(error.__cause__):
                raise
            if not waits:
                log.write(f"waits: {words(error)}")
            waits = True
            if stopping.wait(_AWAY_SECONDS):
                raise Stopping from error
        else:
            if waits:
                log.write("the job store answers again")
            return answer


class Work:
    """One execution of a job.

    Attributes
    ----------
    id, kind, actor : str
        As the job's.
    attempt : int
        As the job's; a retry makes every older execution step aside.
    """

    def __init__(
        self,
        client: DBOSClient,
        store: Store,
        stopping: threading.Event,
        log: JobLog,
        *,
        job_id: str,
        kind: str,
        notes: dict[str, Any],
        plan: tuple[str, ...],
    ) -> None:
        self.id = job_id
        self.kind = kind
        self.actor = str(notes.get("actor", ""))
        self.attempt = int(notes.get("attempt", 1))
        self._client = client
        self._store = store
        self._stopping = stopping
        self._log = log
        self._plan = plan
        self._steps: list[dict[str, Any]] = [dict(step) for step in notes.get("steps", ())]
        self._current: str | None = None
        self._progress = float(notes.get("progress", 0.0))
        self._note = ""
        self._unwritten = False
        self._written = self._looked = 0.0

    def step(
        self,
        name: str,
        function: Callable[[], _Result],
        *,
        attempts: int = 1,
        pause: float = 1.0,
    ) -> _Result:
        """Run one step, unless it was done already: then its result comes from the record.

        Parameters
        ----------
        name : str
            One of the steps that the job was registered with.
        function : callable
            What to do; must be idempotent, and return plain data (JSON).
        attempts : int
            How often to try, at most, where the error is :func:`worth_another_try`.
        pause : float
            Seconds before the second attempt; twice as many before each further one.

        Raises
        ------
        PunctualError
            What the step failed with, the last time.
        """
        self._begin(name)

        def once() -> _Result:
            self.check(now=True)
            try:
                return function()
            except PunctualError as error:
                self.log(words(error))
                raise

        try:
            result = DBOS.run_step(
                {
                    "name": name,
                    "retries_allowed": attempts > 1,
                    "max_attempts": max(attempts, 1),
                    "interval_seconds": pause,
                    "backoff_rate": _BACKOFF,
                    "should_retry": worth_another_try,
                },
                once,
            )
        except dbos_error.DBOSMaxStepRetriesExceeded as error:
            self._end(name, "failed")
            raise error.errors[-1] from error
        except Exception:
            self._end(name, "failed")
            raise
        self._end(name, "done")
        return result

    def log(self, text: str) -> None:
        """Add lines to the job's log; secrets are masked."""
        self._log.write(text)

    def advance(self, share: float | None, note: str = "") -> None:
        """Say how far the current step is: ``share`` from 0 to 1, None where it cannot be known."""
        if share is not None:
            done = sum(step["status"] == "done" for step in self._steps)
            self._progress = round((done + max(0.0, min(1.0, share))) / max(1, len(self._plan)), 4)
        self._note, self._unwritten = note, True
        self._write_if_due()

    def check(self, *, now: bool = False) -> None:
        """Stop here if nobody wants the job to go on; cheap enough to be called often.

        Where the job store is away, it waits until that can be known.

        Raises
        ------
        DBOSWorkflowCancelledError
            When it was cancelled, or retried since: another execution has it then.
        Stopping
            When the service stops.
        """
        if self._stopping.is_set():
            raise Stopping
        self._write_if_due()
        if not now and time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        found = self._ask(
            lambda: self._client.list_workflows(workflow_ids=[self.id], load_input=False, load_output=False)
        )
        if not found or found[0].status == "CANCELLED" or (found[0].attributes or {}).get("attempt", 1) != self.attempt:
            raise dbos_error.DBOSWorkflowCancelledError(f"Job {self.id} was cancelled.")

    def pause(self, seconds: float) -> None:
        """Wait, no longer than the service lives.

        Raises
        ------
        Stopping
            When the service stops.
        """
        if self._stopping.wait(seconds):
            raise Stopping

    def _begin(self, name: str) -> None:
        self._current, self._note = name, ""
        step = self._step(name)
        if step["status"] != "done":
            step.update(status="running", started_at=step["started_at"] or _now(), ended_at=None)
            self._write()

    def _end(self, name: str, status: str) -> None:
        step = self._step(name)
        if step["status"] != status:
            step.update(status=status, ended_at=_now())
        done = sum(step["status"] == "done" for step in self._steps)
        self._progress = round(done / max(1, len(self._plan)), 4)
        self._write()

    def _step(self, name: str) -> dict[str, Any]:
        for step in self._steps:
            if step["name"] == name:
                return step
        step = {"name": name, "status": "waiting", "started_at": None, "ended_at": None}
        self._steps.append(step)
        return step

    def _write_if_due(self) -> None:
        if self._unwritten and time.monotonic() - self._written >= _WRITE_SECONDS:
            self._write()

    def _write(self) -> None:
        self._written, self._unwritten = time.monotonic(), False
        notes = {"step": self._current, "progress": self._progress, "steps": self._steps, "note": self._note}
        self._ask(lambda: self._client.update_workflow_attributes(self.id, notes, merge=True))

    def _ask(self, question: Callable[[], _Result]) -> _Result:
        return waited_out(question, self._store, self._stopping, self._log)


def _now() -> str:
    return SystemClock().now().isoformat(timespec="milliseconds")
