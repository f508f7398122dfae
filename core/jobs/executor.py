"""Runs the jobs of a store: one process at a time does, and another takes over when it is gone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from croniter import croniter  # type: ignore[import-untyped]  # as DBOS does
from dbos import DBOS, ScheduleInput

from core.clock import SystemClock
from core.errors import Conflict, DatabaseUnavailable, PunctualError
from core.jobs.kinds import Kind, Schedule
from core.jobs.logs import JobLog
from core.jobs.model import CANCELLED, GIVEN_UP, words
from core.jobs.store import VERSION, PlainJson, Store, unavailable
from core.jobs.work import Stopping, Work, waited_out

if TYPE_CHECKING:
    from dbos import DBOSClient, DBOSConfig

log = logging.getLogger("punctual.jobs")

_LEAD_SECONDS = 1.0
_LOOKS = 5  # for jobs that were given up or cancelled, and moments that were missed: once in so many times
_LOOK_BACK = timedelta(hours=1)  # from the last look that told of all; the database's clock may be another
_QUEUE_SECONDS = 1.0  # a look is several statements, and most find nothing
_STOP_SECONDS = 15.0
_SECOND = timedelta(seconds=1)
# A job that takes the service with it each time (no memory, say) is given up at some time.
_RECOVERIES = 20


class Executor:
    """Waits until it may run the store's jobs, and then does.

    DBOS is one a process, and so is this.
    """

    def __init__(
        self,
        store: Store,
        client: DBOSClient,
        log_of: Callable[[str], JobLog],
        *,
        kinds: Mapping[str, Kind],
        queues: Mapping[str, int],
        schedules: list[Schedule],
    ) -> None:
        self._store = store
        self._client = client
        self._log_of = log_of
        self._kinds = kinds
        self._queues = queues
        self._schedules = schedules
        self._lock = store.lock("executor")
        self._closing = threading.Event()
        self._stopping = threading.Event()  # of the current reign
        self._running: dict[str, threading.Lock] = {}
        self._active = 0
        self._idle = threading.Condition()
        self._told: set[tuple[str, int]] = set()  # jobs, with their attempt
        self._told_until: datetime | None = None
        self._caught_up: dict[str, datetime] = {}  # the last moment of each schedule
        self._thread = threading.Thread(target=self._lead, name="jobs-lead", daemon=True)
        self.leads = False

    def start(self) -> None:
        """Begin: at once if nobody else runs these jobs, when they are gone otherwise."""
        self._try()
        self._thread.start()

    def stop(self) -> None:
        """Stop what is at work; it goes on at the next start, here or elsewhere."""
        self._closing.set()
        self._thread.join()
        self._resign()

    def _lead(self) -> None:
        looks = 0
        while not self._closing.wait(_LEAD_SECONDS):
            looks += 1
            if self.leads and not self._lock.ours():
                log.warning("another process may run our jobs now: the lock is lost")
                self._resign()
            elif not self.leads:
                self._try()
            elif looks % _LOOKS == 0:
                self._tell_of_the_stopped()
                self._catch_up()

    def _try(self) -> None:
        try:
            with unavailable(self._store):
                if self._lock.take():
                    self._reign()
        except DatabaseUnavailable as error:
            log.warning("jobs cannot be run", extra={"detail": str(error)})
            self._resign()

    def _tell_of_the_stopped(self) -> None:
        """Tell of jobs that were given up, or cancelled by somebody who may not have come to telling."""
        tells = {
            (kind.name, word): tell
            for kind in self._kinds.values()
            for word, tell in ((GIVEN_UP, kind.on_give_up), (CANCELLED, kind.on_cancel))
            if tell is not None
        }
        if not tells:
            return
        now = SystemClock().now()
        since = self._told_until.isoformat() if self._told_until is not None else None
        try:
            with unavailable(self._store):
                found = self._client.list_workflows(
                    status=[GIVEN_UP, CANCELLED],
                    name=sorted({name for name, _ in tells}),
                    completed_after=since,
                    load_input=False,
                    load_output=False,
                )
            for job in found:
                which = (job.workflow_id, (job.attributes or {}).get("attempt", 1))
                if which not in self._told and (job.name, job.status) in tells:
                    tells[job.name, job.status](job.workflow_id)
                    self._told.add(which)
        except PunctualError as error:
            log.warning("jobs that were stopped cannot be recorded yet", extra={"detail": words(error)})
        else:
            self._told_until = now - _LOOK_BACK

    def _catch_up(self) -> None:
        """Start what a schedule's last moment should have started, if nobody was there then.

        DBOS itself would make up for each moment that was missed; the last one takes in all that the others would have.
        """
        if not self._schedules:
            return
        now = SystemClock().now()
        try:
            with unavailable(self._store):
                fired = {known["schedule_name"]: known["last_fired_at"] for known in self._client.list_schedules()}
                for schedule in self._schedules:
                    moment = croniter(schedule.cron, now, second_at_beginning=True).get_prev(datetime)
                    last = fired.get(schedule.name)
                    if last is None or datetime.fromisoformat(last) >= moment:
                        continue
                    if self._caught_up.get(schedule.name) == moment:
                        continue
                    # It has the id that DBOS' own clock gives it, and so there is one of it, whoever comes first.
                    self._client.backfill_schedule(schedule.name, moment - _SECOND, moment + _SECOND)
                    self._caught_up[schedule.name] = moment
        except DatabaseUnavailable as error:
            log.warning("moments that were missed cannot be made up for yet", extra={"detail": words(error)})

    def _reign(self) -> None:
        self._stopping = threading.Event()
        config: DBOSConfig = {
            "name": self._store.name,
            "system_database_url": self._store.url,
            "dbos_system_schema": self._store.schema,
            "application_version": VERSION,
            "executor_id": self._store.service,
            "serializer": PlainJson(),
            "log_level": "WARNING",
            "enable_otlp": False,
            "run_migrations": False,
            "scheduler_polling_interval_sec": 5.0,
        }
        DBOS.destroy(destroy_registry=True)
        DBOS(config=config)
        for kind in self._kinds.values():
            DBOS.workflow(name=kind.name, max_recovery_attempts=_RECOVERIES)(self._body(kind))
        ticks = {s.name: DBOS.workflow(name=f"schedule-{s.name}")(self._tick(s)) for s in self._schedules}
        DBOS.launch()
        for name, concurrency in self._queues.items():
            DBOS.register_queue(
                name,
                global_concurrency=concurrency,
                polling_interval_sec=_QUEUE_SECONDS,
                on_conflict="always_update",
            )
        wanted = [
            ScheduleInput(schedule_name=s.name, workflow_fn=ticks[s.name], schedule=s.cron) for s in self._schedules
        ]
        crons = {s.name: s.cron for s in self._schedules}
        for old in DBOS.list_schedules():
            if crons.get(old["schedule_name"]) != old["schedule"]:  # what has changed has missed nothing
                DBOS.delete_schedule(old["schedule_name"])
        if wanted:
            DBOS.apply_schedules(wanted)
        self.leads = True

    def _resign(self) -> None:
        self._stopping.set()
        with self._idle:
            if not self._idle.wait_for(lambda: self._active == 0, timeout=_STOP_SECONDS):
                log.warning("jobs did not stop in time", extra={"seconds": _STOP_SECONDS})
        if self.leads:
            self.leads = False
            DBOS.destroy(destroy_registry=True)
        self._lock.release()

    def _body(self, kind: Kind) -> Callable[[dict[str, Any]], Any]:
        def body(arguments: dict[str, Any]) -> Any:
            job_id = DBOS.workflow_id or ""
            stopping = self._stopping
            job_log = self._log_of(job_id)
            with self._counted(), self._running.setdefault(job_id, threading.Lock()):
                # One that was cancelled and retried at once waits here until its last execution has stepped aside.
                found = waited_out(
                    lambda: self._client.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)[0],
                    self._store,
                    stopping,
                    job_log,
                )
                work = Work(
                    self._client,
                    self._store,
                    stopping,
                    job_log,
                    job_id=job_id,
                    kind=kind.name,
                    notes=found.attributes or {},
                    plan=kind.steps,
                )
                job_log.write("goes on" if (found.recovery_attempts or 0) > 1 else "begins")
                return self._outcome(kind, work, job_log, arguments)

        return body

    def _outcome(self, kind: Kind, work: Work, job_log: JobLog, arguments: dict[str, Any]) -> Any:
        try:
            result = kind.function(work, arguments)
        except Stopping:
            job_log.write("is interrupted: the service stops, and it goes on at the next start")
            raise
        except PunctualError as error:
            job_log.write(f"failed: {words(error)}")
            raise
        except Exception as error:
            job_log.write(f"ends: {words(error)}")
            log.info("job ended without a result", extra={"job": work.id, "detail": words(error)}, exc_info=True)
            raise
        job_log.write("is done")
        return result

    def _counted(self) -> _Counted:
        return _Counted(self)

    def _tick(self, schedule: Schedule) -> Callable[[datetime, Any], None]:
        def tick(scheduled: datetime | str, context: Any) -> None:
            moment = datetime.fromisoformat(str(scheduled))  # it comes through the record, which is JSON
            try:
                schedule.start(moment)
            except Conflict as error:
                log.info("a scheduled job was left out", extra={"schedule": schedule.name, "detail": str(error)})
            except Exception:
                log.exception("a scheduled job could not be queued", extra={"schedule": schedule.name})
                raise

        return tick


class _Counted:
    """Counts the executions at work, so that stopping can wait for them."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def __enter__(self) -> None:
        with self._executor._idle:
            self._executor._active += 1

    def __exit__(self, *_: object) -> None:
        with self._executor._idle:
            self._executor._active -= 1
            self._executor._idle.notify_all()
