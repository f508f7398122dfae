"""Durable jobs: queued, bounded, really cancelled, resumed where they were after ``kill -9``, history kept.

::

    jobs = Jobs("data", repo=repo, settings=settings)
    jobs.queue("data", concurrency=1)
    jobs.register("validate", validate, steps=("validate",), queue="data")
    jobs.launch()
    job = jobs.start("validate", {}, actor="anna")

A job's function gets a :class:`Work` and the arguments; what it does, it does in steps (``work.step(name, function)``).
A step that is done is not done again, whatever happens; one that was cut off is, so every step must be idempotent.
"""

from core.jobs.ids import KEY
from core.jobs.jobs import Jobs
from core.jobs.model import CRASHED, Job, Step, words
from core.jobs.remote import carried_out
from core.jobs.routes import IdempotencyKey, accepted, add_job_routes, started
from core.jobs.stage import run_stage
from core.jobs.work import ATTEMPTS, PAUSE_SECONDS, Stopping, Work, worth_another_try

__all__ = [
    "ATTEMPTS",
    "CRASHED",
    "KEY",
    "PAUSE_SECONDS",
    "IdempotencyKey",
    "Job",
    "Jobs",
    "Step",
    "Stopping",
    "Work",
    "accepted",
    "add_job_routes",
    "carried_out",
    "run_stage",
    "started",
    "words",
    "worth_another_try",
]
