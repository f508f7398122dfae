"""What a job goes through when its store is away for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.core.jobs.world import alive, finished, make_jobs, ran, until

pytestmark = pytest.mark.slow

SECONDS = 4.0


@contextmanager
def away(url: str, *, locked_out: str) -> Iterator[None]:
    """Let nobody into a database while the block runs, and throw out those sessions that a condition tells."""
    name = make_url(url).database
    server = make_url(url).set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND {locked_out}"
        connection.execute(query.encode())
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


# Whoever has the lock goes on running the jobs; who has lost it stops, since another may have it then.
KEEPS_THE_LOCK = "pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
ALL = "true"


@pytest.mark.parametrize("locked_out", [KEEPS_THE_LOCK, ALL], ids=["the lock stays", "the lock is lost"])
@pytest.mark.parametrize("seconds", [1, 6], ids=["the stage ends meanwhile", "the stage goes on"])
def test_a_store_that_is_away_for_seconds_fails_no_job(repo, postgres_url, locked_out, seconds):
    jobs = make_jobs(repo, postgres_url)
    jobs.launch()
    try:
        line = '{"punctual_progress": "Writing", "done": 1, "total": 4, "note": ""}'
        script = f"echo run >> {repo.layout.data}/ran; echo '{line}'; sleep {seconds}; echo '{line}'; sleep 1; echo end"
        job = jobs.start("shell", {"script": script}, actor="anna")
        until(lambda: jobs.get(job.id).progress, "progress")
        with away(postgres_url, locked_out=locked_out):
            time.sleep(SECONDS)
        done = finished(jobs, job)
        assert (done.status, done.result, done.attempt, done.error) == ("done", ["end"], 1, None)
        assert [s.status for s in done.steps] == ["done"]
        if locked_out == KEEPS_THE_LOCK:
            assert ran(repo) == ["run"]
            assert sum("does not answer" in line for line in jobs.log(job.id)) == 1
    finally:
        jobs.close()


def test_cancelled_when_the_store_is_back_a_job_stops(repo, postgres_url):
    jobs = make_jobs(repo, postgres_url)
    jobs.launch()
    try:
        job = jobs.start("three", {}, actor="anna")
        until(lambda: ran(repo) == ["one"], "the step")
        with away(postgres_url, locked_out=KEEPS_THE_LOCK):
            until(lambda: "does not answer" in "".join(jobs._log(job.id).read()), "its being noticed")
        jobs.cancel(job.id)
        until(lambda: not alive(f"{repo.layout.data / 'ran'}"), "the stage's end")
        assert jobs.get(job.id).status == "cancelled"
        assert ran(repo) == ["one"]
    finally:
        jobs.close()
