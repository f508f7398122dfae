"""Time goes by in steps that leave nothing out, each prediction is made once whatever is killed, and counted once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from core.errors import ConfigError
from core.files import locked, read_json
from core.model import PredictionModel
from monitoring.logged import logged
from monitoring.replay import Plan, plan
from monitoring.replay_predictions import Asker, read_predictions
from monitoring.replay_report import write_report
from monitoring.skew import check_logged
from stores.raw import register_raw
from stores.sql import connect
from tests.monitoring import replay_world
from tests.monitoring.replay_world import DAYS, SINCE, STEP, UNTIL, Killed, Turns
from tests.repos.loans_world import LoansCopy
from tests.serving.world import World, settings_of

DAY = timedelta(days=1)
PROMOTED = SINCE + DAY
HOURS = st.integers(1, 100).map(lambda hours: timedelta(hours=hours))


@given(step=HOURS, every=HOURS, length=HOURS)
def test_steps_leave_nothing_out_and_none_runs_across_a_turn(step, every, length):
    chosen = Plan(SINCE, SINCE + length, step, every, "1")
    now, stops = SINCE, [SINCE]
    while now < chosen.until:
        stop = chosen.stop_after(now)
        assert now < stop <= now + step
        stops.append(now := stop)
    turns = {SINCE + i * every for i in range(1, length // every + 1)} | {chosen.until}
    assert stops[-1] == chosen.until
    assert turns <= set(stops)
    assert {stop for stop in stops if chosen.turn_is_due(stop)} == turns


@given(step=HOURS, every=HOURS)
def test_a_plan_is_read_back_as_it_was_written(step, every):
    chosen = Plan(SINCE, UNTIL, step, every, "7")
    assert Plan.from_dict(json.loads(json.dumps(chosen.as_dict()))) == chosen


@dataclass
class Done:
    """A replay that was killed three times, and how often it was asked for what."""

    world: World
    plan: Plan
    asked: list[int]
    turns: list[datetime]

    @property
    def folder(self) -> Path:
        return self.world.repo.layout.replay / self.plan.id

    @property
    def made(self) -> pd.DataFrame:
        return read_predictions(self.folder / "predicted").to_pandas()


@pytest.fixture(scope="module")
def done(served: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """Give a replay that dies with answers in hand, at its first step and a later one, and before a turn."""
    world = replay_world.build(tmp_path_factory.mktemp("replay") / "loans", served)
    taken = []
    for die_at, turn_dies in ((1, None), (3, None), (None, SINCE + 2 * DAY)):
        turns = Turns(promote_at=PROMOTED, die_at=turn_dies)
        with pytest.raises(Killed):
            replay_world.replay(world, turns, die_at=die_at)
        taken += turns.taken
    turns = Turns()
    chosen, client = replay_world.replay(world, turns)
    yield Done(world, chosen, client.asked, [until for _, until in [*taken, *turns.taken]])
    world.server.stop()


def expected(done: Done) -> set[tuple[int, datetime]]:
    """Return what was due, worked out from the loans themselves."""
    with connect() as con:
        register_raw(con, done.world.repo)
        loans = con.sql("SELECT loan_id, known_at FROM loans").fetchall()
    dues = {(loan, known + timedelta(days=7 * week - 1)) for loan, known in loans for week in (1, 2, 3, 4)}
    return {(loan, due) for loan, due in dues if SINCE <= due < UNTIL}


@pytest.mark.slow
def test_what_was_due_is_predicted_once_and_never_after_its_moment(done):
    made = done.made
    found = [(json.loads(e)["loan_id"], m.to_pydatetime()) for e, m in zip(made["entity"], made["moment"], strict=True)]
    assert len(found) > 70 * DAYS
    assert sorted(found) == sorted(expected(done))
    ahead = made["moment"] - made["predicted_at"]
    assert ahead.min() >= timedelta(0)
    assert ahead.max() < STEP


@pytest.mark.slow
def test_no_answer_was_asked_for_twice(done):
    there = logged(done.world.repo, SINCE - DAY, UNTIL + DAY).to_pandas()
    assert sorted(there["prediction_id"]) == sorted(done.made["prediction_id"])
    kept = there.set_index("prediction_id").loc[done.made["prediction_id"]]
    assert (kept["predicted_at"].to_numpy() == done.made["predicted_at"].to_numpy()).all()
    assert (kept["probability"].to_numpy() == done.made["probability"].to_numpy()).all()


@pytest.mark.slow
def test_every_vector_is_what_history_says_was_known_before_its_moment(done):
    report = check_logged(done.world.repo, since=SINCE, until=UNTIL)
    assert report.rows == len(done.made)
    assert report.differences == []


@pytest.mark.slow
def test_every_day_has_its_turn_once(done):
    assert done.turns == [SINCE + i * DAY for i in range(1, DAYS + 1)]


@pytest.mark.slow
def test_what_was_promoted_serves_from_its_turn_on(done):
    versions = done.made.groupby("predicted_at")["model_version"].unique()
    assert {v for when, vs in versions.items() for v in vs if when < PROMOTED} == {"1"}
    assert {v for when, vs in versions.items() for v in vs if when >= PROMOTED} == {"2"}


@pytest.mark.slow
def test_the_report_counts_each_label_once_and_scores_the_start_on_the_same_vectors(done):
    path, found = write_report(done.world.repo, settings_of(done.world.repo), done.plan)
    assert found == json.loads(json.dumps(read_json(path.with_name("report.json"))))
    made = done.made
    with connect() as con:
        register_raw(con, done.world.repo)
        truth = con.sql(
            "SELECT loan_id, due_at - INTERVAL 1 DAY AS moment, missed FROM payments WHERE known_at <= $1",
            params=[UNTIL],
        ).df()
    made["loan_id"] = made["entity"].map(lambda e: json.loads(e)["loan_id"])
    rows = made.merge(truth.astype({"moment": made["moment"].dtype}), on=["loan_id", "moment"])
    assert found["counts"] == {
        "asked": len(made),
        "refused": 0,
        "predicted": len(made),
        "labelled": len(rows),
        "waiting": len(made) - len(rows),
    }
    whole = found["spans"][0]
    assert whole["rows"] == len(rows) > 100
    assert whole["with"]["auc"] == pytest.approx(roc_auc_score(rows["missed"], rows["probability"]))
    start = PredictionModel.load(done.world.repo.layout.models / "1")
    vectors = logged(done.world.repo, SINCE, UNTIL, features=start.features).to_pandas().set_index("prediction_id")
    inputs = vectors.loc[rows["prediction_id"]]
    offline = start.predict_proba({f.name: inputs[f.name].tolist() for f in start.features})
    assert whole["without"]["brier"] == pytest.approx(brier_score_loss(rows["missed"], offline))
    assert found["rescored"] < 1e-9
    assert [v["version"] for v in found["versions"]] == ["1", "2"]


@pytest.mark.slow
def test_the_page_stands_alone_and_escapes_what_comes_from_data(done):
    path, _ = write_report(done.world.repo, settings_of(done.world.repo), done.plan)
    page = path.read_text()
    assert "data:image/svg+xml;base64," in page
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


@pytest.mark.slow
def test_over_it_stays_as_it_is(done):
    before = done.made
    turns = Turns()
    _, client = replay_world.replay(done.world, turns)
    assert client.asked == turns.taken == []
    assert done.made.equals(before)


@pytest.mark.slow
def test_one_replay_at_a_time(done):
    repo = done.world.repo
    with locked(done.folder / ".lock"), pytest.raises(Exception, match="runs already"):
        replay_world.replay(done.world, Turns())
    assert repo.clock.now() == UNTIL


@pytest.fixture
def loans(tmp_path: Path) -> LoansCopy:
    """Give loans whose first window is fetched."""
    loans = LoansCopy.copy_to(tmp_path / "loans")
    (loans.repo.layout.raw / "20240101T000000Z_20240301T000000Z").mkdir(parents=True)
    return loans


def refused(loans: LoansCopy, words: str, since: datetime = SINCE, **options: timedelta) -> None:
    with pytest.raises(ConfigError, match=words):
        plan(loans.repo, since, since + 4 * DAY, **options)
    assert not loans.repo.layout.replay.exists()


def test_a_clock_that_cannot_go_by_itself_is_refused(loans):
    data = {"start": "2024-01-01", "initial_until": "2024-03-01", "clock": "system"}
    loans.problem(data=data)
    refused(loans, "lives on the system clock")


def test_a_time_that_has_passed_is_refused(loans):
    refused(loans, "2024-02-27 has passed", SINCE - 3 * DAY)


def test_a_time_that_the_source_does_not_have_is_refused(loans):
    refused(loans, "source at 2024-05-01", datetime(2024, 4, 29, tzinfo=UTC))


def test_a_repo_that_cannot_tell_what_is_due_is_refused(loans):
    (loans.folder / "sql" / "upcoming.sql").unlink()
    refused(loans, "upcoming.sql")


def test_there_must_be_a_champion(loans):
    refused(loans, "no champion")


def test_one_that_was_begun_goes_on_as_it_was_begun(loans):
    (loans.repo.layout.models / "1").mkdir(parents=True)
    (loans.repo.layout.models / "champion.json").write_text('{"name": "loans", "version": "1"}')
    begun = plan(loans.repo, SINCE, UNTIL, step=2 * DAY)
    (loans.repo.layout.models / "champion.json").write_text('{"name": "loans", "version": "2"}')
    assert plan(loans.repo, SINCE, UNTIL) == plan(loans.repo, SINCE, UNTIL, step=2 * DAY) == begun
    assert begun.champion == "1"
    with pytest.raises(ConfigError, match="was begun with --step"):
        plan(loans.repo, SINCE, UNTIL, step=DAY)


def test_whom_the_service_does_not_know_is_noted_and_keeps_nobody_else_from_an_answer(served, tmp_path):
    world = served.copy_to(tmp_path / "loans")
    sql = world.folder / "sql" / "upcoming.sql"
    sql.write_text(f"{sql.read_text()} UNION ALL SELECT 999999, TIMESTAMPTZ '2024-03-01 06:00:00Z'")
    folder = tmp_path / "predicted"
    with replay_world.served_by(world) as api:
        client = replay_world.Client(api)
        asker = Asker(world.repo, client, folder, most=7)
        asker.ask(SINCE, SINCE + STEP)
        asker.ask(SINCE, SINCE + STEP)
    made = read_predictions(folder).to_pandas()
    (unknown,) = made[made["prediction_id"].isna()].to_dict("records")
    assert json.loads(unknown["entity"]) == {"loan_id": 999999}
    assert "999999" in unknown["refused"]
    assert asker.count == len(made) - 1 > 20
    assert max(client.asked) <= 7
    assert sum(client.asked) == asker.count
