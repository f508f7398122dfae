"""What starts a flow besides a request: the clock and new data; and that each does it once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from core.clock import SystemClock
from core.jobs import Jobs, Work
from core.jobs.ids import new_id
from core.settings import Settings
from core.windows import Window
from ingestion.fetch import fetch_window
from ingestion.flow import KIND, start_key
from ingestion.triggers import NewDataWatch, new_data, on_schedule
from tests.core.jobs.world import finished, until
from tests.ingestion.loans import Loans, window


@pytest.fixture
def jobs(loans: Loans) -> Iterator[Jobs]:
    made = flow_jobs(loans)
    made.launch()
    yield made
    made.close()


def flow_jobs(loans: Loans) -> Jobs:
    jobs = Jobs("data", repo=loans.repo, settings=Settings())
    jobs.queue("data", concurrency=1)

    def run(work: Work, arguments: dict[str, str]) -> str:
        return work.step("all", lambda: arguments["trigger"])

    jobs.register(KIND, run, steps=("all",), queue="data")
    return jobs


def test_new_data_starts_one_flow_however_often_one_looks(loans, jobs):
    watch = NewDataWatch(loans.repo, jobs, 3600)
    for _ in range(3):
        watch.look()
    (job,) = jobs.list()
    assert (finished(jobs, job).result, job.actor) == ("new-data", "new-data")
    watch.look()  # it could not be taken in: not before the next hour again
    assert len(jobs.list()) == 1
    fetch_window(loans.repo, loans.repo.problem.data.initial)
    watch.look()  # the next window
    assert len(jobs.list()) == 2


def test_at_the_end_of_the_source_nothing_starts(loans, jobs):
    data = loans.repo.problem.data
    fetch_window(loans.repo, data.initial)
    fetch_window(loans.repo, Window(data.initial_until, data.end))
    NewDataWatch(loans.repo, jobs, 3600).look()
    assert jobs.list() == []


def test_a_window_that_is_not_whole_yet_is_left_to_grow(loans):
    problem = (loans.folder / "problem.yaml").read_text()
    now = SystemClock().now().replace(microsecond=0)
    start, half = now - timedelta(days=30), now - timedelta(days=3)
    text = problem.replace("clock: replay", "clock: system")
    assert text != problem
    lines = [line for line in text.splitlines() if not line.strip().startswith("end:")]
    bounds = {"start:": start, "initial_until:": half}
    for number, line in enumerate(lines):
        for name, moment in bounds.items():
            if line.strip().startswith(name):
                lines[number] = f"{line[: len(line) - len(line.lstrip())]}{name} {moment:%Y-%m-%dT%H:%M:%SZ}"
    (loans.folder / "problem.yaml").write_text("\n".join(lines))
    repo = loans.repo
    assert new_data(repo) == Window(start, half)
    (repo.layout.raw / Window(start, half).id).mkdir(parents=True)
    assert new_data(repo) is None  # three days of seven


def test_the_watch_looks_by_itself(loans, jobs):
    watch = NewDataWatch(loans.repo, jobs, 0.05)
    watch.start()
    try:
        until(lambda: jobs.list(), "a flow")
    finally:
        watch.close()


def test_each_moment_of_the_schedule_starts_one_flow(jobs):
    start = on_schedule(jobs)
    moment = datetime(2026, 1, 5, 3, tzinfo=UTC)
    first = finished(jobs, start(moment))
    assert (first.result, first.actor) == ("schedule", "schedule")
    assert start(moment).id == first.id
    assert start(moment + timedelta(days=1)).id != first.id


@pytest.mark.slow
def test_the_clock_starts_flows_and_a_schedule_that_is_gone_does_not(loans):
    jobs = flow_jobs(loans)
    jobs.schedule("flow", "* * * * * *", on_schedule(jobs))
    jobs.launch()
    try:
        until(lambda: len(jobs.list(status="done")) >= 2, "two flows")
    finally:
        jobs.close()
    without = flow_jobs(loans)
    without.launch()
    try:
        until(lambda: not without.list(status="queued"), "an empty queue")
        count = len(without.list())
        marker = finished(without, without.start(KIND, {"trigger": "hand"}, actor="anna"))
        until(lambda: SystemClock().now() > marker.ended_at + timedelta(seconds=3), "three seconds")
        assert len(without.list()) == count + 1
    finally:
        without.close()


@pytest.mark.slow
def test_of_all_that_a_schedule_has_missed_the_last_moment_is_made_up_for_once(loans):
    hour = (SystemClock().now() + timedelta(hours=12)).hour  # it does not come round while this runs
    for cron, fired, flows in (
        (f"0 {hour} * * *", None, 0),  # it is new
        (f"0 {hour} * * *", timedelta(days=10), 1),
        (f"0 {hour} * * *", None, 1),  # it was made up for by the process before
        (f"30 {hour} * * *", None, 1),  # it is another, and has missed nothing
    ):
        jobs = flow_jobs(loans)
        jobs.schedule("flow", cron, on_schedule(jobs))
        jobs.launch()
        try:
            if fired is not None:
                jobs._client._sys_db.update_last_fired_at("flow", (SystemClock().now() - fired).isoformat())
            until(lambda jobs=jobs, flows=flows: len(jobs.list(KIND, "done")) == flows, "the flow")
            jobs._executor._catch_up()
            assert len(jobs._client.list_workflows(name="schedule-flow")) == flows
            made = jobs.list()
        finally:
            jobs.close()
    (flow,) = made
    day = flow.created_at - timedelta(hours=12)
    moment = day.replace(hour=hour, minute=0, second=0, microsecond=0)
    assert flow.id == new_id(KIND, start_key("schedule", moment), "schedule")


def test_windows_of_the_loans(loans):
    fetch_window(loans.repo, window(0, 60))
    assert new_data(loans.repo) == window(60, 67)
