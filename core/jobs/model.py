"""What a job is to those who look at it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from core.clock import SystemClock
from core.errors import PunctualError
from core.masks import mask_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbos import WorkflowStatus

GIVEN_UP = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"  # DBOS' word for what was cut off again and again
CANCELLED = "CANCELLED"
Status = Literal["queued", "running", "done", "failed", "cancelled"]
STATUSES: tuple[str, ...] = get_args(Status)
# DBOS's own words for them.
WORDS: dict[str, list[str]] = {
    "queued": ["ENQUEUED", "DELAYED"],
    "running": ["PENDING"],
    "done": ["SUCCESS"],
    "failed": ["ERROR", GIVEN_UP],
    "cancelled": [CANCELLED],
}
_MEANING: dict[str, Any] = {word: status for status, words in WORDS.items() for word in words}
CRASHED = "It was cut off again and again while it ran; the service's own log may say by what."


@dataclass(frozen=True)
class Step:
    """One step of a job: ``waiting``, ``running``, ``done``, ``failed`` or ``cancelled``; times are UTC."""

    name: str
    status: str = "waiting"
    started_at: str | None = None
    ended_at: str | None = None


@dataclass(frozen=True)
class Job:
    """A durable job as it is now.

    Attributes
    ----------
    id, kind : str
        Its name, and what it does.
    status : str
        ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
    progress : float
        Share of the work that is done, 0 to 1.
    step : str or None
        What it is doing, or what it was doing when it ended without its result.
    steps : tuple of Step
        All of them in order.
    actor : str
        Who or what started it.
    attempt : int
        1, and one more for each retry.
    arguments, result : JSON
        What it was started with, and what came of it.
    error : str or None
        Why it failed, in one line.
    note : str
        What its step is at, while it runs.
    """

    id: str
    kind: str
    status: Status
    progress: float
    step: str | None
    steps: tuple[Step, ...]
    actor: str
    attempt: int
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    arguments: dict[str, Any]
    result: Any = None
    error: str | None = None
    note: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.status in ("done", "failed", "cancelled")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def first_notes(steps: tuple[str, ...], actor: str) -> dict[str, Any]:
    """Return what is noted beside a job when it is queued."""
    now = SystemClock().now().isoformat()
    return {
        "actor": actor,
        "created_at": now,
        "attempt": 1,
        "progress": 0.0,
        "steps": [asdict(Step(name)) for name in steps],
    }


def job_of(found: WorkflowStatus) -> Job:
    """Read a job out of what DBOS has recorded."""
    notes: Mapping[str, Any] = found.attributes or {}
    status: Status = _MEANING[found.status]
    steps = tuple(_as_it_ended(Step(**step), status) for step in notes.get("steps", ()))
    over = status in ("done", "failed", "cancelled")
    error = None
    if status == "failed":
        error = words(found.error) if found.error is not None else CRASHED
    arguments = found.input["args"][0] if found.input and found.input["args"] else {}
    return Job(
        id=found.workflow_id,
        kind=found.name,
        status=status,
        progress=1.0 if status == "done" else float(notes.get("progress", 0.0)),
        step=None if status in ("done", "queued") else _at(steps, notes),
        steps=steps,
        actor=str(notes.get("actor", "")),
        attempt=int(notes.get("attempt", 1)),
        created_at=datetime.fromisoformat(notes["created_at"]) if "created_at" in notes else _moment(found.created_at),
        started_at=_moment(found.dequeued_at),
        ended_at=_moment(found.completed_at) if over else None,
        arguments=dict(arguments),
        result=found.output if status == "done" else None,
        error=error,
        note=str(notes.get("note", "")) if status == "running" else "",
    )


def _at(steps: tuple[Step, ...], notes: Mapping[str, Any]) -> str | None:
    # What comes after a failure (it is recorded, and told) is not what the job failed in.
    failed = [step.name for step in steps if step.status == "failed"]
    return failed[0] if failed else notes.get("step")


def words(error: BaseException) -> str:
    """Return an error in one line: an expected one says what is wrong, any other its type as well."""
    title = error.title if isinstance(error, PunctualError) else type(error).__name__
    return mask_text(" ".join(f"{title}: {error}".split("\n")))


def _as_it_ended(step: Step, status: Status) -> Step:
    # A step that was cut off could not say so itself.
    if step.status == "running" and status in ("failed", "cancelled"):
        return Step(step.name, status, step.started_at, step.ended_at)
    return step


def _moment(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds is not None else None
