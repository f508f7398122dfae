"""What the routes of jobs answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from core.jobs.model import Status
from core.service.answers import Told


class StepState(Told):
    """One step of a job."""

    name: str
    status: Literal["waiting", "running", "done", "failed", "cancelled"]
    started_at: datetime | None
    ended_at: datetime | None


class JobState(Told):
    """A job as it is now."""

    id: str
    kind: str
    status: Status
    progress: float = Field(ge=0, le=1)
    step: str | None = Field(description="What it is doing, or was when it ended without its result.")
    steps: list[StepState]
    actor: str = Field(description="Who or what started it.")
    attempt: int = Field(ge=1, description="1, and one more for each retry.")
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    arguments: dict[str, Any]
    result: Any = Field(description="What came of it; null until it is done.")
    error: str | None = Field(description="Why it failed, in one line.")
    note: str = Field(description="What its step is at, while it runs.")

    example: ClassVar[dict[str, Any]] = {
        "id": "import-0123456789abcdef0123",
        "kind": "import",
        "status": "running",
        "progress": 0.5,
        "step": "import",
        "steps": [{"name": "import", "status": "running", "started_at": "2026-01-01T00:00:00Z", "ended_at": None}],
        "actor": "anna",
        "attempt": 1,
        "created_at": "2026-01-01T00:00:00Z",
        "started_at": "2026-01-01T00:00:00Z",
        "ended_at": None,
        "arguments": {},
        "result": None,
        "error": None,
        "note": "Fetching 2024-03-01 00:00 .. 2024-03-08 00:00 UTC payments",
    }


class JobList(Told):
    """Jobs, the newest first."""

    jobs: list[JobState]

    example: ClassVar[dict[str, Any]] = {"jobs": [JobState.example]}


class JobLines(Told):
    """Lines of a job's log."""

    lines: list[str] = Field(description="Each with its moment, UTC.")
    next: int = Field(ge=0, description="What to ask `since` with next time.")

    example: ClassVar[dict[str, Any]] = {"lines": ["2026-01-01T00:00:00Z Fetching payments"], "next": 1}


def queued(kind: str, **more: Any) -> dict[str, Any]:
    """Return an example of a job of a kind that was just started; ``more`` are members beside a job's own."""
    waiting = {"status": "queued", "progress": 0.0, "step": None, "started_at": None, "note": ""}
    steps = [{"name": kind, "status": "waiting", "started_at": None, "ended_at": None}]
    return {**JobState.example, "id": f"{kind}-0123456789abcdef0123", "kind": kind, **waiting, "steps": steps, **more}
