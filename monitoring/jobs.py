"""Turns, drift tests and tidying as durable jobs; the heavy parts are stages, processes of their own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from core.errors import PunctualError
from core.files import read_json
from core.jobs import Jobs, Work, run_stage, worth_another_try
from core.stages import punctual, stage_environment
from monitoring.watch import STEPS, turn, window_of

if TYPE_CHECKING:
    from core.jobs import Job
    from core.repo import FeatureRepo
    from core.settings import Settings

TURN, DRIFT, TIDY = "turn", "drift", "tidy"
_TIDY_DAILY = "17 3 * * *"  # UTC, on the machine's clock
_ATTEMPTS = 4
_PAUSE_SECONDS = 2.0
_Result = TypeVar("_Result")


class AsJob:
    """Runs the parts of a turn as steps of a job, and the tasks as stages.

    Parameters
    ----------
    repo : FeatureRepo
        What the stages work on.
    work : Work
        The job.
    """

    def __init__(self, repo: FeatureRepo, work: Work) -> None:
        self._repo = repo
        self._work = work

    def step(self, name: str, function: Callable[[], _Result]) -> _Result:
        """Run a step; again if what it needs is away."""
        return self._work.step(name, function, attempts=_ATTEMPTS, pause=_PAUSE_SECONDS)

    def task(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Run a task in a process of its own; again if what it needs is away."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return self._stage(name, arguments)
            except PunctualError as error:
                if not worth_another_try(error):
                    raise
            self._work.pause(_PAUSE_SECONDS * attempt)
        return self._stage(name, arguments)

    def beat(self, share: float | None, note: str) -> None:
        """Tell of progress; stops where nobody wants the job to go on."""
        self._work.check()
        self._work.advance(share, note)

    def _stage(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result.json"
            command = punctual("monitor", "task", name, json.dumps(arguments), str(result))
            run_stage(self._work, command, environment=stage_environment(self._repo))
            return dict(read_json(result))


def register_jobs(jobs: Jobs, repo: FeatureRepo, settings: Settings) -> None:
    """Declare them, one at a time: each takes memory, and turns follow upon each other."""

    def take_turn(work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
        moments = (datetime.fromisoformat(arguments[name]) for name in ("since", "until"))
        return turn(repo, settings, *moments, act=bool(arguments["act"]), runner=AsJob(repo, work))

    def test_drift(work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
        runner = AsJob(repo, work)
        found = runner.step("drift", lambda: runner.task("drift", **arguments))
        return {name: found[name] for name in ("id", "model_version", "rows", "verdict", "share", "reasons")}

    def tidy(work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
        runner = AsJob(repo, work)
        return runner.step("tidy", lambda: runner.task("tidy"))

    def start_tidy(moment: datetime) -> Job:
        return jobs.start(TIDY, {}, actor="schedule", idempotency_key=f"schedule-{moment:%Y%m%dT%H%M%S}")

    jobs.queue("monitoring", concurrency=1)
    jobs.register(TURN, take_turn, steps=STEPS, queue="monitoring")
    jobs.register(DRIFT, test_drift, steps=("drift",), queue="monitoring")
    jobs.register(TIDY, tidy, steps=("tidy",), queue="monitoring")
    jobs.schedule("tidy", _TIDY_DAILY, start_tidy)


def start_turn(
    jobs: Jobs,
    repo: FeatureRepo,
    *,
    actor: str,
    since: datetime | None = None,
    until: datetime | None = None,
    act: bool = True,
    key: str | None = None,
) -> Job:
    """Queue a turn over a window that is settled now, so that it stays the same however often the job goes on.

    Raises
    ------
    Conflict
        When one is queued or running already.
    NoData
        On a replay clock that has no time yet.
    """
    window = window_of(repo, since, until)
    arguments = {"since": window.since.isoformat(), "until": window.until.isoformat(), "act": act}
    return jobs.start(TURN, arguments, actor=actor, idempotency_key=key, alone=True)


def on_schedule(jobs: Jobs, repo: FeatureRepo) -> Callable[[datetime], Job]:
    """Return what the schedule calls: it queues a turn up to now, one for each moment of the schedule."""

    def start(moment: datetime) -> Job:
        return start_turn(jobs, repo, actor="schedule", key=f"schedule-{moment:%Y%m%dT%H%M%S}")

    return start
