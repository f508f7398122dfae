"""A job of another service as a step of one of ours: waited for, and not left behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from core.errors import PunctualError
from core.jobs.work import Stopping

if TYPE_CHECKING:
    from core.answers import JobView
    from core.client import TrainingClient


def carried_out(client: TrainingClient, job: JobView, beat: Callable[[JobView], None]) -> dict[str, Any]:
    """Wait for a training and return its result.

    Parameters
    ----------
    client : TrainingClient
        Whose job it is.
    job : JobView
        Just started, under a key that finds it again.
    beat : callable
        Hears of progress. What it raises ends the waiting and, unless the service just stops, the training too.

    Raises
    ------
    JobFailed, ServiceUnavailable
        When it failed, or the service is away.
    """

    def look(view: JobView) -> None:
        try:
            beat(view)
        except Stopping:  # it goes on without us, and we find it again
            raise
        except BaseException:  # cancelled
            with suppress(PunctualError):  # it may be over, or away: then there is nothing to stop
                client.http.call("POST", f"/training/jobs/{job.id}/cancel")
            raise

    return dict(client.wait(job.id, each=look).result or {})
