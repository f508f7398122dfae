"""The jobs of one service: started, listed, cancelled and retried by any of its processes, run by one of them."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dbos import error as dbos_error

from core.errors import Conflict, DatabaseUnavailable, InvalidRequest, NotFound
from core.jobs.executor import Executor
from core.jobs.ids import is_job_id, new_id
from core.jobs.kinds import Declared
from core.jobs.logs import JobLog
from core.jobs.model import STATUSES, WORDS, Job, Step, first_notes, job_of
from core.jobs.store import VERSION, Store, unavailable

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions

    from core.repo import FeatureRepo
    from core.settings import Settings

log = logging.getLogger("punctual.jobs")

MAX_LISTED = 500
_AGAIN_SECONDS = 1.0  # between two tries to open a store that is away
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Jobs(Declared):
    """The jobs of one service.

    Parameters
    ----------
    service : str
        ``data``, ``training`` or ``prediction``: each has a store of its own.
    repo : FeatureRepo
        In whose data folder logs are kept, and the store where no Postgres is configured.
    settings : Settings
        Which database to use.
    """

    def __init__(self, service: str, *, repo: FeatureRepo, settings: Settings) -> None:
        super().__init__()
        self.service = service
        self._store = Store.of(service, repo, settings)
        self._logs = repo.layout.jobs / service / "logs"
        self._data = repo.layout.data
        self._client_: DBOSClient | None = None
        self._executor: Executor | None = None
        self._closing = threading.Event()
        self._opening: threading.Thread | None = None

    def launch(self, *, work: bool = True) -> None:
        """Open the store and begin to work; what an earlier process left unfinished goes on.

        Parameters
        ----------
        work : bool
            False in a process that only starts jobs and looks at them, and leaves the work to another. It does without
            the store: while that is away, all that is asked here raises ``DatabaseUnavailable``, until it is back.

        Raises
        ------
        DatabaseUnavailable
            When the store does not answer, and there is work to do.
        """
        self._closing.clear()
        self._data.mkdir(parents=True, exist_ok=True)
        try:
            self._open()
        except DatabaseUnavailable as error:
            if work:
                raise
            log.warning("the jobs' store is away and asked again: %s", error)
            self._opening = threading.Thread(target=self._keep_opening, name="jobs-open", daemon=True)
            self._opening.start()
        if work:
            self._executor = Executor(
                self._store,
                self._client,
                self._log,
                kinds=self._kinds,
                queues=self._queues,
                schedules=self._schedules,
            )
            self._executor.start()

    def _open(self) -> None:
        self._store.prepare()
        self._client_ = self._store.client()

    def _keep_opening(self) -> None:
        while not self._closing.wait(_AGAIN_SECONDS):
            with suppress(DatabaseUnavailable):
                self._open()
                log.info("the jobs' store is there")
                return

    def close(self) -> None:
        """Stop working; what is at work goes on at the next launch, at the step where it was."""
        self._closing.set()
        if self._opening is not None:
            self._opening.join(5)
            self._opening = None
        if self._executor is not None:
            self._executor.stop()
            self._executor = None
        if self._client_ is not None:
            self._client_.destroy()
            self._client_ = None

    @property
    def leads(self) -> bool:
        """Whether it is this process that runs the jobs."""
        return self._executor is not None and self._executor.leads

    def start(
        self,
        kind: str,
        arguments: dict[str, Any],
        *,
        actor: str,
        idempotency_key: str | None = None,
        alone: bool = False,
    ) -> Job:
        """Queue a job.

        Parameters
        ----------
        kind : str
            What to do.
        arguments : dict
            Plain data.
        actor : str
            Who or what starts it.
        idempotency_key : str, optional
            The same key of the same actor again gives the same job, whatever has become of it.
        alone : bool
            Refuse if a job of this kind is queued or running already.

        Raises
        ------
        Conflict
            When the key was used with other arguments, or one is there already that must be alone.
        InvalidRequest
            When the key is not 1 to 200 visible ASCII characters.
        DatabaseUnavailable
            When the store does not answer; nothing is queued then.
        """
        chosen = self._kinds[kind]
        name = new_id(kind, idempotency_key, actor)
        arguments = json.loads(json.dumps(arguments, default=str))
        options: EnqueueOptions = {
            "workflow_name": kind,
            "queue_name": chosen.queue,
            "workflow_id": name,
            "app_version": VERSION,
            "authenticated_user": actor,
            "attributes": first_notes(chosen.steps, actor),
        }
        if alone:
            options["deduplication_id"] = kind
        with unavailable(self._store):
            known = self._find(name) if idempotency_key else None
            if known is None:
                try:
                    self._client.enqueue(options, arguments)
                except dbos_error.DBOSQueueDeduplicatedError as error:
                    known = self._find(name)
                    if known is None:
                        raise self._not_alone(kind) from error
            job = known or self.get(name)
        if job.arguments != arguments:
            raise Conflict(
                f"The idempotency key {idempotency_key!r} was used for {job.id} with other arguments.",
                hint="Use a new key for a new job.",
            )
        return job

    def get(self, job_id: str, *, actor: str | None = None) -> Job:
        """Return a job; with ``actor`` one that they started.

        Raises
        ------
        NotFound
            When there is none of that id, or it is somebody else's: which of them, is not said.
        DatabaseUnavailable
            When the store does not answer.
        """
        job = self._find(job_id)
        if job is None or actor not in (None, job.actor):
            raise NotFound(f"There is no job {job_id[:80]!r}.", hint="GET /jobs lists them.")
        return job

    def list(
        self, kind: str | None = None, status: str | None = None, limit: int = 50, *, actor: str | None = None
    ) -> list[Job]:
        """Return jobs, newest first; with ``actor`` those that they started.

        Raises
        ------
        NotFound, InvalidRequest
            When there is no such kind, or no such status.
        """
        if kind is not None and kind not in self._kinds:
            raise NotFound(f"There are no {kind[:80]!r} jobs here.", hint=f"There are: {', '.join(self._kinds)}.")
        if status is not None and status not in STATUSES:
            raise InvalidRequest(f"{status[:80]!r} is no status.", hint=f"Use one of {', '.join(STATUSES)}.")
        with unavailable(self._store):
            found = self._client.list_workflows(
                name=[kind] if kind else [*self._kinds],
                status=WORDS[status] if status else None,
                user=actor,
                limit=max(1, min(limit, MAX_LISTED)),
                sort_desc=True,
            )
        # SQLite knows whole seconds only.
        return sorted((job_of(one) for one in found), key=lambda job: job.created_at or _LONG_AGO, reverse=True)

    def log(self, job_id: str, since: int = 0) -> Sequence[str]:
        """Return the lines of a job's log from line ``since`` on.

        Raises
        ------
        NotFound
            When there is no such job.
        """
        return self._log(self.get(job_id).id).read(max(0, since))

    def cancel(self, job_id: str) -> Job:
        """Stop a job: at once if it waits, within seconds if it runs. What its steps finished stays.

        Raises
        ------
        NotFound, Conflict
            When there is none, or it is over already.
        """
        job = self.get(job_id)
        if not job.over:
            with unavailable(self._store):
                self._client.cancel_workflow(job_id)
            self._log(job_id).write("is cancelled")
            job = self.get(job_id)
        if job.status != "cancelled":
            raise Conflict(f"{job_id} is {job.status} already: it cannot be cancelled.")
        # One that was cancelled before, too: whoever did it may not have come to this.
        if (told := self._kinds[job.kind].on_cancel) is not None:
            told(job_id)
        return job

    def retry(self, job_id: str) -> Job:
        """Let a failed or cancelled job go on at the step that it did not finish, under the same id.

        Raises
        ------
        NotFound, Conflict
            When there is none, or it is not over, or done.
        """
        job = self.get(job_id)
        if job.status not in ("failed", "cancelled"):
            raise Conflict(f"{job_id} is {job.status}: only failed and cancelled jobs are retried.")
        with unavailable(self._store):
            recorded = self._client.list_workflow_steps(job_id, load_output=True)
            failed = [s["function_id"] for s in recorded if s["error"] is not None]
            first = min(failed, default=max((s["function_id"] for s in recorded), default=0) + 1)
            steps = [asdict(step if step.status == "done" else Step(step.name)) for step in job.steps]
            notes = {"attempt": job.attempt + 1, "steps": steps}
            self._client.update_workflow_attributes(job_id, notes, merge=True)
            self._client.rewind_workflow(
                job_id, start_step=first, application_version=VERSION, queue_name=self._kinds[job.kind].queue
            )
        self._log(job_id).write(f"is retried, attempt {job.attempt + 1}")
        # Not before it is so; and one that is over again by now has said that itself.
        if (told := self._kinds[job.kind].on_retry) is not None and not self.get(job_id).over:
            told(job_id)
        return self.get(job_id)

    async def health(self) -> dict[str, Any]:
        """Return facts for a service's health: who runs the jobs, and how many wait.

        Raises
        ------
        DatabaseUnavailable
            When the store does not answer.
        """
        tally = await asyncio.to_thread(self.tally)
        queued = sum(number for kind, word, number, *_ in tally if kind in self._kinds and word in WORDS["queued"])
        return {"here": self.leads, "queued": queued}

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of jobs that there are here."""
        return tuple(self._kinds)

    def tally(self) -> Sequence[tuple[str, str, int, int, int | None]]:
        """Return kind, DBOS' word for the status, number, first creation and last end (ms since 1970), for each.

        Raises
        ------
        DatabaseUnavailable
            When the store does not answer.
        """
        with unavailable(self._store):
            return self._store.tally()

    @property
    def _client(self) -> DBOSClient:
        if self._client_ is None:
            raise DatabaseUnavailable(
                f"The {self.service} service's job store is not open.",
                hint="Is it running? PUNCTUAL_DATABASE says where it is.",
            )
        return self._client_

    def _find(self, name: str) -> Job | None:
        if not is_job_id(name):
            return None
        with unavailable(self._store):
            found = self._client.list_workflows(workflow_ids=[name])
        return job_of(found[0]) if found and found[0].name in self._kinds else None

    def _not_alone(self, kind: str) -> Conflict:
        running = [*self.list(kind, "running", 1), *self.list(kind, "queued", 1)]
        which = running[0].id if running else "another one"
        return Conflict(f"One {kind} at a time: {which} is not over yet.", hint="Wait for it, or cancel it.")

    def _log(self, job_id: str) -> JobLog:
        return JobLog(self._logs / f"{job_id}.log")
