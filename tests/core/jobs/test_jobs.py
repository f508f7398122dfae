"""Jobs as those see them who start, watch, cancel and retry them."""

from __future__ import annotations

import threading

import pytest

from core.errors import Conflict, DatabaseUnavailable, InvalidRequest, NotFound
from core.jobs import Jobs, words
from tests.core.jobs.world import alive, finished, make_jobs, open_gate, ran, until


def test_a_job_from_start_to_result(repo, store):
    jobs = make_jobs(repo, store)
    jobs.launch()
    try:
        job = jobs.start("shell", {"script": "echo one; echo two"}, actor="anna")
        assert job.status == "queued"
        assert [s.status for s in job.steps] == ["waiting"]
        done = finished(jobs, job)
        assert (done.status, done.result, done.progress) == ("done", ["one", "two"], 1.0)
        assert (done.actor, done.attempt, done.error) == ("anna", 1, None)
        assert [s.status for s in done.steps] == ["done"]
        assert done.created_at <= done.ended_at
        text = [line.split(" ", 1)[1] for line in jobs.log(job.id)]
        assert text == ["begins", "$ sh -c echo one; echo two", "one", "two", "is done"]
        assert jobs.log(job.id, since=3) == jobs.log(job.id)[3:]
    finally:
        jobs.close()
    again = make_jobs(repo, store)
    again.launch()  # the history is there after a restart
    try:
        assert again.get(job.id) == done
        assert again.list() == [done]
    finally:
        again.close()


def test_secrets_are_masked_wherever_a_job_shows_them(jobs: Jobs):
    script = "echo password=hunter2; echo 'No password=hunter2' >&2; exit 3"
    done = finished(jobs, jobs.start("shell", {"script": script}, actor="anna"))
    assert done.status == "failed"
    assert "hunter2" not in f"{done.error}{done.result}{jobs.log(done.id)}"
    assert "exit code 3" in done.error


def test_the_last_words_of_a_stage_are_the_jobs_error_and_no_trace(jobs: Jobs):
    script = "echo 'Nothing there yet: There is no raw data. Run: punctual fetch' >&2; echo 'ERROR: failed' >&2; exit 1"
    done = finished(jobs, jobs.start("shell", {"script": script}, actor="anna"))
    assert done.error == "Nothing there yet: There is no raw data. Run: punctual fetch"
    bug = finished(jobs, jobs.start("broken", {}, actor="anna"))
    assert (bug.status, bug.error) == ("failed", "The job failed: KeyError: 'missing'")
    assert words(ValueError("two\nlines")) == "ValueError: two lines"


@pytest.mark.slow
def test_progress_lines_of_a_stage_become_the_jobs_progress(jobs: Jobs, repo):
    line = '{"punctual_progress": "Writing", "done": 1, "total": 4, "note": ""}'
    script = f"echo '{line}' >&2; until test -e {repo.layout.data}/go; do sleep 0.05; done"
    job = jobs.start("shell", {"script": script}, actor="anna")
    until(lambda: jobs.get(job.id).progress == 0.25, "a quarter")
    assert (jobs.get(job.id).step, jobs.get(job.id).note) == ("run", "Writing")
    (repo.layout.data / "go").touch()
    assert finished(jobs, job).result == []


def test_the_same_key_is_the_same_job_and_other_arguments_are_a_conflict(jobs: Jobs):
    first = jobs.start("shell", {"script": "true"}, actor="anna", idempotency_key="monday")
    finished(jobs, first)
    assert jobs.start("shell", {"script": "true"}, actor="anna", idempotency_key="monday").id == first.id
    others = jobs.start("shell", {"script": "false"}, actor="bert", idempotency_key="monday")
    assert others.id != first.id, "another's key of the same name is another key"
    with pytest.raises(Conflict, match="other arguments"):
        jobs.start("shell", {"script": "false"}, actor="anna", idempotency_key="monday")
    assert jobs.start("three", {}, actor="anna", idempotency_key="monday").id != first.id
    for bad in ("", "x" * 201, "two words", "line\nbreak"):
        with pytest.raises(InvalidRequest):
            jobs.start("shell", {"script": "true"}, actor="anna", idempotency_key=bad)


@pytest.mark.slow
def test_many_starts_at_once_with_one_key_are_one_job(repo, store):
    jobs = make_jobs(repo, store)
    jobs.launch()
    try:
        found: list[str] = []

        def start() -> None:
            found.append(jobs.start("shell", {"script": "echo x >> ran"}, actor="anna", idempotency_key="k").id)

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1
        assert len(jobs.list()) == 1
    finally:
        jobs.close()


@pytest.mark.slow
def test_what_must_be_alone_is_refused_while_one_is_at_work(jobs: Jobs, repo):
    first = jobs.start("three", {}, actor="anna", alone=True)
    with pytest.raises(Conflict, match=first.id):
        jobs.start("three", {}, actor="bert", alone=True)
    for gate in ("one", "two", "three"):
        open_gate(repo, gate)
    finished(jobs, first)
    assert finished(jobs, jobs.start("three", {}, actor="bert", alone=True)).status == "done"


@pytest.mark.slow
def test_a_queue_runs_no_more_than_it_may_in_the_order_of_coming(repo):
    jobs = make_jobs(repo, concurrency=2)
    jobs.launch()
    try:
        script = f"echo x >> {repo.layout.data}/at_work; until test -e {repo.layout.data}/go; do sleep 0.05; done"
        started = [jobs.start("shell", {"script": f"{script} # {n}"}, actor="anna") for n in range(4)]
        at_work = repo.layout.data / "at_work"
        until(lambda: at_work.is_file() and at_work.read_text().count("x") == 2, "two at work")
        assert {j.id for j in jobs.list(status="running")} == {started[0].id, started[1].id}
        assert {j.id for j in jobs.list(status="queued")} == {started[2].id, started[3].id}
        (repo.layout.data / "go").touch()
        assert [finished(jobs, job).status for job in started] == ["done"] * 4
    finally:
        jobs.close()


def test_cancel_kills_whatever_the_stage_has_started(jobs: Jobs):
    job = jobs.start("shell", {"script": "sh -c 'sleep 4711.1' & sleep 4711.2"}, actor="anna")
    until(lambda: len(alive("sleep\x004711")) == 2, "both children")
    cancelled = jobs.cancel(job.id)
    assert cancelled.status == "cancelled"
    assert cancelled.steps[0].status == "cancelled"
    until(lambda: not alive("sleep\x004711"), "their end")
    done = finished(jobs, jobs.start("shell", {"script": "true"}, actor="anna"))
    with pytest.raises(Conflict, match="done already"):
        jobs.cancel(done.id)


@pytest.mark.slow
def test_cancelled_while_it_waits_a_job_never_runs(jobs: Jobs, repo):
    first = jobs.start("three", {}, actor="anna")
    second = jobs.start("shell", {"script": f"touch {repo.layout.data}/never"}, actor="anna")
    jobs.cancel(second.id)
    for gate in ("one", "two", "three"):
        open_gate(repo, gate)
    finished(jobs, first)
    finished(jobs, jobs.start("shell", {"script": "true"}, actor="anna"))  # the queue has gone past it
    assert not (repo.layout.data / "never").exists()


@pytest.mark.slow
def test_a_cancelled_job_goes_on_where_it_stopped_when_it_is_retried(jobs: Jobs, repo):
    job = jobs.start("three", {}, actor="anna")
    open_gate(repo, "one")
    until(lambda: ran(repo) == ["one", "two"], "step two")
    jobs.cancel(job.id)
    again = jobs.retry(job.id)  # at once: the first execution may still be stopping
    assert (again.id, again.attempt) == (job.id, 2)
    open_gate(repo, "two")
    open_gate(repo, "three")
    done = finished(jobs, job)
    assert (done.status, done.result) == ("done", ["one", "two", "three"])
    assert ran(repo).count("one") == 1


@pytest.mark.slow
def test_a_cancellation_that_could_not_be_told_of_is_told_of_later(repo, store):
    told: list[str] = []
    away = threading.Event()
    away.set()

    def on_cancel(job_id: str) -> None:
        if away.is_set():
            raise DatabaseUnavailable("accounts are away")
        told.append(job_id)

    jobs = make_jobs(repo, store, on_cancel=on_cancel)
    jobs.launch()
    try:
        first, second, third = (jobs.start("three", {}, actor="anna") for _ in range(3))
        for job in (first, second):
            with pytest.raises(DatabaseUnavailable):
                jobs.cancel(job.id)
        jobs._client.cancel_workflow(third.id)  # as if its process had been killed just then
        away.clear()
        assert jobs.cancel(first.id).status == "cancelled"
        assert told[0] == first.id, "by who cancels it again"
        until(lambda: {second.id, third.id} <= set(told), "the others")
        jobs._executor._tell_of_the_stopped()
        before = told.copy()
        jobs._executor._tell_of_the_stopped()
        assert told == before, "once is enough"
    finally:
        jobs.close()


@pytest.mark.slow
def test_a_retry_is_told_of_when_it_goes_on(repo, store):
    seen: list[str] = []

    def on_retry(job_id: str) -> None:
        seen.append(jobs.get(job_id).status)
        raise DatabaseUnavailable("accounts are away")

    jobs = make_jobs(repo, store, on_retry=on_retry)
    jobs.launch()
    try:
        job = jobs.start("three", {}, actor="anna")
        jobs.cancel(job.id)
        for gate in ("one", "two", "three"):
            open_gate(repo, gate)
        with pytest.raises(DatabaseUnavailable):
            jobs.retry(job.id)
        assert seen[0] in ("queued", "running")
        assert finished(jobs, job).status == "done"
    finally:
        jobs.close()


@pytest.mark.slow
def test_a_step_that_may_pass_is_tried_again_with_back_off(jobs: Jobs):
    done = finished(jobs, jobs.start("shaky", {"failures": 2, "attempts": 3}, actor="anna"))
    assert (done.status, done.result) == ("done", 3)
    assert sum("try" in line for line in jobs.log(done.id)) == 2


def test_a_step_that_fails_for_good_can_be_retried_from_there(jobs: Jobs):
    failed = finished(jobs, jobs.start("shaky", {"failures": 2, "attempts": 2}, actor="anna"))
    assert (failed.status, failed.step) == ("failed", "second")
    assert failed.error == "The raw source failed: try 2 password=***"
    assert [s.status for s in failed.steps] == ["done", "failed"]
    jobs.retry(failed.id)
    done = finished(jobs, failed)
    assert (done.status, done.result, done.attempt, done.error) == ("done", 3, 2, None)
    with pytest.raises(Conflict):
        jobs.retry(done.id)


@pytest.mark.parametrize(
    "bad", ["", "shell-", "../../etc/passwd", "shell-0123456789abcdef0123", "x" * 500, "shell-' OR 1=1"]
)
def test_ids_that_are_none(jobs: Jobs, bad):
    for act in (jobs.get, jobs.log, jobs.cancel, jobs.retry):
        with pytest.raises(NotFound):
            act(bad)


@pytest.mark.slow
def test_lists_are_newest_first_bounded_and_by_kind_and_status(jobs: Jobs):
    made = [finished(jobs, jobs.start("shell", {"script": f"exit {n % 2}"}, actor="anna")) for n in range(4)]
    assert [j.id for j in jobs.list()] == [j.id for j in reversed(made)]
    assert [j.id for j in jobs.list(limit=2)] == [made[3].id, made[2].id]
    assert {j.id for j in jobs.list(status="failed")} == {made[1].id, made[3].id}
    assert jobs.list("three") == []
    for wrong in ({"kind": "no"}, {"status": "no"}):
        with pytest.raises((InvalidRequest, NotFound)):
            jobs.list(**wrong)
