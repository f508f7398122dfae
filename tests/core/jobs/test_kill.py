"""What a job goes through when the process that runs it is stopped, killed, or not alone."""

from __future__ import annotations

import signal

import pytest
from sqlalchemy import create_engine, text

from core.jobs import CRASHED, Jobs
from tests.core.jobs.world import alive, finished, make_jobs, open_gate, ran, serve, until

pytestmark = pytest.mark.slow

STEPS = ("one", "two", "three")


@pytest.mark.parametrize("at", [0, 1, 2])
def test_killed_in_any_step_it_goes_on_at_that_step(repo, store, at):
    server = serve(repo, store)
    looker = make_jobs(repo, store)
    looker.launch()
    try:
        assert not looker.leads
        job = looker.start("three", {}, actor="anna")
        for name in STEPS[:at]:
            open_gate(repo, name)
        until(lambda: ran(repo) == list(STEPS[: at + 1]), f"step {STEPS[at]}")
        server.send_signal(signal.SIGKILL)
        server.wait()
        # Its child dies with it, and another process takes the job over by itself.
        until(lambda: looker.leads, "taking over")
        until(lambda: ran(repo)[at + 1 :] == [STEPS[at]], "the step again")
        assert len(alive(f"{repo.layout.data / 'ran'}")) <= 2  # the new stage and its tether alone
        for name in STEPS:
            open_gate(repo, name)
        done = finished(looker, job)
        assert (done.status, done.result, done.attempt) == ("done", list(STEPS), 1)
        assert ran(repo) == [*STEPS[:at], STEPS[at], *STEPS[at:]]
    finally:
        looker.close()


def test_one_that_is_cut_off_too_often_has_failed_and_is_told_of(repo, store):
    server = serve(repo, store)
    looker = make_jobs(repo, store, on_give_up=(told := []).append)
    looker.launch()
    try:
        job = looker.start("three", {}, actor="anna")
        until(lambda: ran(repo) == ["one"], "the first step")
        server.send_signal(signal.SIGKILL)
        server.wait()
        # As if it had been so for the twentieth time.
        kept = looker._store
        engine = create_engine(kept.url)
        table = f'"{kept.schema}".workflow_status' if store else "workflow_status"
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE {table} SET recovery_attempts = 25"))
        engine.dispose()
        given_up = finished(looker, job)
        assert (given_up.status, given_up.error) == ("failed", CRASHED)
        until(lambda: told, "being told")
        assert told == [job.id]
        assert ran(repo) == ["one"]  # it was not begun again
    finally:
        looker.close()


def test_stopped_it_leaves_no_child_and_goes_on_at_the_next_start(repo):
    jobs = make_jobs(repo)
    jobs.launch()
    job = jobs.start("three", {}, actor="anna")
    open_gate(repo, "one")
    until(lambda: ran(repo) == ["one", "two"], "step two")
    jobs.close()
    assert not alive(f"{repo.layout.data / 'ran'}")
    open_gate(repo, "two")
    open_gate(repo, "three")
    again = make_jobs(repo)
    again.launch()
    try:
        done = finished(again, job)
        assert (done.status, done.attempt) == ("done", 1)
        assert ran(repo) == ["one", "two", "two", "three"]
    finally:
        again.close()


def test_of_two_services_one_runs_the_jobs_and_both_can_ask(repo, store):
    server = serve(repo, store)
    looker: Jobs = make_jobs(repo, store)
    looker.launch()
    try:
        started = [
            looker.start("shell", {"script": f"echo {n} >> {repo.layout.data}/out"}, actor="a") for n in range(5)
        ]
        for job in started:
            assert finished(looker, job).status == "done"
        assert not looker.leads
        assert sorted((repo.layout.data / "out").read_text().split()) == list("01234")  # none was run twice
        server.terminate()
        assert server.wait(30) == 0
        until(lambda: looker.leads, "taking over")
        assert finished(looker, looker.start("shell", {"script": "true"}, actor="a")).status == "done"
    finally:
        server.kill()
        looker.close()
