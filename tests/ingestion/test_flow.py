"""The whole flow on real data, with stand-ins for the other services: what it does, what it leaves when it fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing

import pytest

from core.client import PredictionClient, TrainingClient
from core.database import database
from core.jobs import CRASHED, Jobs
from core.notify import Notifier
from core.windows import Window, list_windows
from ingestion.fetch import fetch_window
from ingestion.flow import Flow
from ingestion.flow_runs import FlowRuns
from ingestion.steps import Steps
from tests.asgi import problem
from tests.conftest import DATABASES, free_port
from tests.core.jobs.world import until
from tests.ingestion.flow_world import World, world
from tests.ingestion.services import KEPT, PROMOTED, WAITS, Others, served

pytestmark = pytest.mark.slow

STEPS = ["begin", "plan", "import", "validate", "preprocess", "materialize", "train", "reload", "record", "notify"]


@pytest.fixture
def others() -> Iterator[Others]:
    with served(Others()) as running:
        yield running


@pytest.fixture
def flows(loans, others) -> Iterator[World]:
    with world(loans, others) as running:
        yield running


@pytest.fixture(params=DATABASES)
def on_either(loans, others, request: pytest.FixtureRequest) -> Iterator[World]:
    """The same, on each kind of database."""
    database = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    with world(loans, others, database=database) as running:
        yield running


def test_from_new_data_to_a_served_champion(on_either: World):
    flows = on_either
    flows.others.serving_after = 2
    job = flows.flow()
    assert (job["status"], job["error"], job["progress"]) == ("done", None, 1.0)
    assert [(s["name"], s["status"]) for s in job["steps"]] == [(name, "done") for name in STEPS]
    result = job["result"]
    assert (result["outcome"], result["model_version"], result["serving"]) == ("promoted", "2", "2")
    (version,) = flows.api.get("/data/versions").json()["versions"]
    assert (version["version"], version["job"], version["current"]) == (result["data_version"], job["id"], True)
    assert version["rows"] == {"loans": 1200, "payments": 3396}
    run = flows.run()
    assert (run["id"], run["trigger"], run["status"]) == (job["id"], "hand", "done")
    assert (run["data_version"], run["model_version"]) == (result["data_version"], "2")
    assert run["started_at"] < run["ended_at"]
    started, recorded = flows.keys.accounts.audit_log(limit=10)[::-1][-2:]
    assert (started["action"], recorded["action"], recorded["target"]) == ("POST /flow/run", "flow", job["id"])
    assert (recorded["actor"], recorded["outcome"]) == (started["actor"], "done")
    assert recorded["detail"]["data_version"] == result["data_version"]
    (train,) = [asked for asked in flows.others.asked if asked[1] == "/training/train"]
    assert train[2] == {"promote": True, "notify": False}
    assert train[3]["idempotency-key"] == job["id"]


def test_the_next_run_takes_the_next_window(flows: World):
    flows.others.outcomes = [{"result": KEPT}]
    first, second = flows.flow(), flows.flow()
    assert [first["result"]["outcome"], second["result"]["outcome"]] == ["kept", "kept"]
    assert [w.id for w in list_windows(flows.repo.layout.raw)] == [
        first["result"]["window"],
        second["result"]["window"],
    ]
    newest, oldest = flows.api.get("/data/versions").json()["versions"]
    assert (newest["current"], oldest["current"]) == (True, False)
    assert len(newest["windows"]) == 2


def test_a_training_service_that_is_away_for_a_while_does_not_matter(loans):
    others = Others(port=free_port())
    with world(loans, others) as flows:
        flows.api.post("/flow/run")
        (job,) = flows.api.get("/jobs").json()["jobs"]
        until(lambda: flows.job(job["id"])["step"] == "train", "the training")
        with served(others):
            assert flows.over(job["id"])["status"] == "done"


def test_away_for_good_it_fails_is_recorded_and_leaves_what_was(loans):
    others = Others(port=free_port())
    with world(loans, others) as flows:
        job = flows.flow()
        assert (job["status"], job["step"]) == ("failed", "train")
        assert "training" in job["error"]
        assert (flows.run()["status"], flows.run()["result"]["outcome"]) == ("failed", "failed")
        assert flows.keys.accounts.audit_log(limit=1)[0]["outcome"] == "failed"
        features = loans.files("features")
        with served(others):  # back again: the retry does not import, validate or compute anything twice
            answer = flows.api.post(f"/jobs/{job['id']}/retry")
            assert answer.status_code == 202, answer.text
            done = flows.over(job["id"])
        assert (done["status"], done["attempt"], done["result"]["outcome"]) == ("done", 2, "promoted")
        assert loans.files("features") == features
        assert (flows.run()["status"], len(flows.api.get("/flow/runs").json()["runs"])) == ("done", 1)


def test_a_training_that_failed_is_another_training_when_the_flow_is_retried(flows: World):
    flows.others.outcomes = [{"error": "no memory"}, {"result": PROMOTED}]
    job = flows.flow()
    assert job["status"] == "failed"
    assert "no memory" in job["error"]
    flows.api.post(f"/jobs/{job['id']}/retry")
    assert flows.over(job["id"])["status"] == "done"
    assert flows.others.trained() == [job["id"], f"{job['id']}-2"]


def test_bad_data_stops_the_flow_and_changes_nothing_that_is_used(loans, others):
    with world(loans, others) as flows:
        assert flows.flow()["status"] == "done"
    used = {name: loans.files(name) for name in ("valid", "features", "versions")}
    trained = others.trained()
    good = (loans.folder / "source.py").read_text()
    loans.source_gives("tables['loans']['amount'] = -1.0")
    with world(loans, others) as flows:
        for _ in range(2):  # the second run does not go past the bad window to the next one
            job = flows.flow()
            assert (job["status"], job["step"]) == ("failed", "validate")
            assert "bad" in job["error"]
            assert len(list_windows(loans.repo.layout.raw)) == 2
        assert {name: loans.files(name) for name in used} == used
        assert others.trained() == trained
        (loans.folder / "source.py").write_text(good)
        shutil.rmtree(loans.repo.layout.raw / list_windows(loans.repo.layout.raw)[-1].id)
    with world(loans, others) as flows:
        assert flows.flow()["status"] == "done"


def test_a_schedule_goes_on_with_what_stopped_and_ends_early_when_all_is_done(loans, others):
    data = loans.repo.problem.data
    for window in (data.initial, Window(data.initial_until, data.end)):
        fetch_window(loans.repo, window)  # as by a flow that stopped before it could validate; the source has no more
    others.outcomes = [{"error": "no memory"}, {"result": PROMOTED}]
    with world(loans, others, flow_schedule="* * * * * *") as flows:

        def outcomes() -> list[str]:
            runs = flows.api.get("/flow/runs").json()["runs"]
            return [run["result"]["outcome"] for run in reversed(runs) if run["status"] != "running"]

        until(lambda: len(outcomes()) >= 3, "three runs")
        assert outcomes()[:3] == ["failed", "promoted", "nothing new"]
    assert len(list_windows(loans.repo.layout.valid)) == 2


def test_a_model_that_waits_for_approval_is_told_of(loans, others, hook):
    heard, url = hook
    others.outcomes = [{"result": WAITS}]
    with world(loans, others, notify_webhook=url) as flows:
        assert flows.flow()["result"]["outcome"] == "waits"
        until(lambda: heard.told, "the message")
    assert "Version 2 waits for a second person's approval" in heard.told[0]["text"]


def test_one_flow_at_a_time(flows: World):
    flows.others.held = True
    job = flows.api.post("/flow/run").json()
    members = problem(flows.api.post("/flow/run"), 409)
    assert job["id"] in members["detail"]
    flows.others.held = False
    assert flows.over(job["id"])["status"] == "done"


def test_cancelled_in_training_the_training_stops_too(flows: World):
    flows.others.held = True
    job = flows.api.post("/flow/run").json()
    until(lambda: flows.others.trained(), "the training")
    until(lambda: flows.job(job["id"])["step"] == "train", "the training")
    assert flows.api.post(f"/jobs/{job['id']}/cancel").json()["status"] == "cancelled"
    until(lambda: flows.others.jobs[job["id"]].get("cancelled"), "its end")
    assert flows.run()["status"] == "cancelled"
    records = flows.keys.accounts.audit_log(action="flow")
    assert [(one["target"], one["outcome"]) for one in records] == [(job["id"], "cancelled")]


def test_whoever_wants_to_know_is_told_how_a_flow_ended(loans, others, hook):
    heard, url = hook
    with world(loans, others, notify_webhook=url) as flows:
        done = flows.flow()
        others.held = True
        stopped = flows.api.post("/flow/run").json()
        until(lambda: flows.job(stopped["id"])["step"] == "train", "the training")
        flows.api.post(f"/jobs/{stopped['id']}/cancel")
        until(lambda: len(heard.told) == 2, "the second message")
        others.held, others.outcomes = False, [{"error": "no memory"}]
        failed = flows.flow()
        until(lambda: len(heard.told) == 3, "the third message")
    told = [(one["event"], one["facts"]["flow"]) for one in heard.told]
    assert told == [("flow.done", done["id"]), ("flow.cancelled", stopped["id"]), ("flow.failed", failed["id"])]


def test_a_run_whose_cancelling_was_cut_off_is_recorded_and_told_of(loans, others, hook):
    heard, url = hook
    others.held = True
    with world(loans, others, notify_webhook=url) as flows:
        job = flows.api.post("/flow/run").json()
        until(lambda: flows.job(job["id"])["step"] == "train", "the training")
        with closing(Jobs("data", repo=flows.repo, settings=flows.settings)) as cutter:
            cutter.launch(work=False)
            cutter._client.cancel_workflow(job["id"])
        until(lambda: heard.told, "the message")
        run = flows.run()
        assert (run["status"], run["result"]) == ("cancelled", {"outcome": "cancelled"})
        flows.api.post(f"/jobs/{job['id']}/cancel")
        records = flows.keys.accounts.audit_log(action="flow")
        assert [(one["target"], one["outcome"]) for one in records] == [(job["id"], "cancelled")]
    assert [one["event"] for one in heard.told] == ["flow.cancelled"]


def test_a_run_that_takes_its_process_with_it_each_time_has_failed_and_is_told_of(loans, others, hook):
    heard, url = hook
    others.held = True
    with world(loans, others, notify_webhook=url) as flows:
        job = flows.api.post("/flow/run").json()
        until(lambda: flows.job(job["id"])["step"] == "train", "the training")
        with closing(database(flows.repo, flows.settings)) as kept:
            flow = Flow(
                Steps(flows.repo),
                training=lambda: TrainingClient.local(flows.settings, flows.repo.layout),
                prediction=lambda: PredictionClient.local(flows.settings, flows.repo.layout),
                runs=FlowRuns(kept),
                notifier=Notifier(flows.settings),
            )
            flow.given_up(job["id"])
            flow.given_up(job["id"])  # another process may find it too
        until(lambda: heard.told, "the message")
        run = flows.run()
        assert (run["status"], run["result"]) == ("failed", {"outcome": "failed", "error": CRASHED})
        records = flows.keys.accounts.audit_log(action="flow")
        assert [(one["target"], one["outcome"], one["detail"]["error"]) for one in records] == [
            (job["id"], "failed", CRASHED)
        ]
        assert [one["event"] for one in heard.told] == ["flow.failed"]
        assert CRASHED in heard.told[0]["text"]


def test_rollback_is_one_call(flows: World):
    answer = flows.api.post("/flow/rollback", json={"reason": "it hallucinates", "expected": "2"})
    assert (answer.status_code, answer.json()["version"]) == (200, "1")
    (asked,) = [a for a in flows.others.asked if a[1] == "/training/rollback"]
    assert asked[2]["reason"].startswith("it hallucinates (asked for by ")
    assert asked[2]["expected"] == "2"
    assert flows.keys.accounts.audit_log(limit=1)[0]["action"] == "POST /flow/rollback"
