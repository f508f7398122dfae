"""What Prometheus learns of a service's jobs: their states, the queue, and when each kind last ended well or not.

It is asked of the job store itself, with one query, so that it is the same in every process and after a restart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import Metric

from core.clock import epoch_seconds
from core.jobs.model import WORDS
from core.service import gauge

if TYPE_CHECKING:
    from core.jobs.jobs import Jobs

_STATUS = {word: status for status, words in WORDS.items() for word in words}
_OVER = ("done", "failed", "cancelled")


def job_gauges(jobs: Jobs) -> Iterator[Metric]:
    """Give the gauges of one service's jobs, for its own kinds alone.

    Raises
    ------
    DatabaseUnavailable
        When the job store does not answer.
    """
    service, kinds = jobs.service, set(jobs.kinds)
    counts: dict[tuple[str, ...], float] = {(service, kind, status): 0.0 for kind in kinds for status in WORDS}
    ended: dict[tuple[str, ...], float] = defaultdict(float)
    waiting_since = None
    for kind, word, count, first_created, last_ended in jobs.tally():
        status = _STATUS.get(word)
        if kind not in kinds or status is None:
            continue
        counts[service, kind, status] += count
        if status == "queued":
            waiting_since = min(first_created, waiting_since or first_created)
        elif status in _OVER and last_ended is not None:
            ended[service, kind, status] = max(ended[service, kind, status], last_ended / 1000)
    waited = 0.0 if waiting_since is None else max(0.0, epoch_seconds() - waiting_since / 1000)
    labels = ("service", "kind", "status")
    yield gauge("punctual_jobs", "Jobs by kind and state; those that are over stay.", labels, counts)
    yield gauge("punctual_job_ended_timestamp_seconds", "When the last job of a kind ended so.", labels, ended)
    yield gauge(
        "punctual_jobs_waiting_seconds",
        "How long the job that has waited longest has waited; 0 where none waits.",
        ("service",),
        {service: waited},
    )
