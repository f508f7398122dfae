"""Turns that decide and act: once each, whatever is killed where, and never to and fro.

What is seen is given by the test (how it is seen is tested beside each look); what is decided and done is real.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from core.database import database
from core.files import write_json
from core.settings import Settings
from core.tables import Promotion
from monitoring.decisions import Decisions
from monitoring.retrain import worthy
from monitoring.watch import STEPS, turn, turns
from tests.monitoring.training_service import Training, serve
from tests.repos.loans_world import LoansCopy

_Result = TypeVar("_Result")
DAY = timedelta(days=1)
START = datetime(2024, 3, 1, tzinfo=UTC)
DRIFT = {"verdict": "drift", "reasons": ["4 of 6 features drifted."]}
QUIET = {"verdict": "no drift", "reasons": ["0 of 6 features drifted."]}
BETTER = {"low": 0.01, "high": 0.03, "gain": 0.02}
NOISE = {"low": -0.01, "high": 0.02, "gain": 0.005}


class Killed(BaseException):
    """What a kill -9 leaves behind: nothing more is done."""


class Seen:
    """Runs the parts of a turn here; the looks are what the test says. Dies where it is told to.

    Taken for a turn once more it resumes that, as a durable job does: what a step gave is recorded and not done again.

    Attributes
    ----------
    drift, contest, rollback : dict
        The drift look; how a new version fares against the champion, and the version before against the champion.
    """

    def __init__(self, **looks: Any) -> None:
        self.new = 5000
        self.drift, self.contest, self.rollback = QUIET, BETTER, NOISE
        self.fails: str | None = None
        self.die: tuple[str, str] | None = None
        self.recorded: dict[str, Any] = {}
        vars(self).update(looks)

    def step(self, name: str, function: Callable[[], _Result]) -> _Result:
        assert name in STEPS
        if self.die == (name, "before"):
            raise Killed
        if name in self.recorded:
            return json.loads(self.recorded[name])
        result = function()
        if self.die == (name, "after"):
            raise Killed
        self.recorded[name] = json.dumps(result)
        return result

    def task(self, name: str, **arguments: Any) -> dict[str, Any]:
        if name == self.fails:
            from core.errors import StoreUnavailable

            raise StoreUnavailable("It does not answer.")
        if name == "contest":
            found = self.rollback if arguments["version"] else self.contest
            about = {k: arguments[k] for k in ("challenger", "champion", "confidence")}
            return {"metric": "auc", "rows": 900, "values": [0.72, 0.7], **about, **found}
        features = [{"name": "amount", "drifted": self.drift is DRIFT}]
        drift = {"id": "r", "model_version": "1", "share": 0.6, "rows": 900, "performance": None, "features": features}
        return {
            "truth": {"labelled": 900, "waiting": 10, "new": self.new},
            "performance": {"windows": []},
            "drift": {**drift, **self.drift},
            "freshness": {"views": [], "missing": {}},
            "skew": {"rows": 10, "values": 60, "unexplained": {}},
        }[name]

    def beat(self, share: float | None, note: str) -> None: ...


class World:
    """The loans repo with a champion, and a training service beside it."""

    def __init__(self, folder: Path, training: Training) -> None:
        self.repo = LoansCopy(folder).repo
        self.training = training
        self.settings = Settings(training_url=training.url, api_key="any", _env_file=None)
        self.database = database(self.repo, self.settings)
        self.follow()

    def follow(self) -> None:
        """Let this machine's pointer and ledger say what the training service says, as the real one would."""
        models = self.repo.layout.models
        write_json(models / "champion.json", {"name": "loans", "version": self.training.roles["champion"]})
        for version in ("1", "2", "3", "4"):
            write_json(models / version / "model.json", {"metadata": {"trained_until": "2024-02-01T00:00:00+00:00"}})
        with self.database.session() as session:
            session.query(Promotion).delete()
            for row in self.training.ledger:
                kept = {k: row[k] for k in ("action", "version", "previous_version", "status")}
                more = {"requested_by": "monitoring", "reasons": [], "created_at": START}
                session.add(Promotion(model="loans", **kept, **more))

    def turn(self, day: int, seen: Seen, **options: Any) -> dict[str, Any]:
        until = START + day * DAY
        found = turn(self.repo, self.settings, until - 7 * DAY, until, runner=seen, **options)
        self.follow()
        return found

    def decisions(self, action: str = "retrain") -> list[tuple[str, str | None]]:
        found = Decisions(self.database, "loans").list()
        return [(row["outcome"], row["version"]) for row in found[::-1] if row["action"] == action]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the loans repo whose database has its tables."""
    folder = tmp_path_factory.mktemp("watch") / "loans"
    database(LoansCopy.copy_to(folder).repo, Settings(_env_file=None)).check()
    return folder


@pytest.fixture
def world(migrated: Path, tmp_path: Path) -> Iterator[World]:
    shutil.copytree(migrated, tmp_path / "loans")
    with serve(Training()) as training:
        yield World(tmp_path / "loans", training)


def test_a_quiet_turn_does_nothing_and_says_why(world):
    found = world.turn(0, Seen())
    assert found["decision"]["outcome"] == "nothing"
    assert found["decision"]["reasons"][0].startswith("nothing to do")
    assert found["rollback"] is None
    assert world.training.asked == []
    (kept,) = turns(world.repo.layout)
    assert kept["decision"]["reasons"] == found["decision"]["reasons"]
    assert kept["drift"]["verdict"] == "no drift"


def test_drift_raises_an_alarm_trains_and_promotes_what_is_better_beyond_noise(world):
    found = world.turn(0, Seen(drift=DRIFT))
    assert [row["kind"] for row in found["alarms"]["opened"]] == ["drift"]
    decision = found["decision"]
    assert (decision["outcome"], decision["version"], decision["triggers"]) == ("promoted", "2", ["drift"])
    assert "between +0.0100 and +0.0300" in decision["reasons"][-1]
    assert world.training.moves() == [("promote", "2")]
    assert "monitoring: " in world.training.ledger[-1]["reasons"][0]
    again = world.turn(1, Seen())
    assert [row["kind"] for row in again["alarms"]["cleared"]] == ["drift"]
    assert again["alarms"]["open"] == 0


@pytest.mark.parametrize(
    ("seen", "passes", "says"),
    [
        (Seen(drift=DRIFT, contest=NOISE), True, "between -0.0100 and +0.0200"),
        (Seen(drift=DRIFT), False, "did not pass the gate"),
    ],
)
def test_what_is_not_better_beyond_noise_is_kept_and_the_reason_too(world, seen, passes, says):
    world.training.passes = passes
    decision = world.turn(0, seen)["decision"]
    assert decision["outcome"] == "kept"
    assert says in decision["reasons"][-1]
    assert world.training.moves() == []


def test_where_live_rows_cannot_judge_the_champion_stays_and_the_reason_says_so(world):
    seen = Seen(drift=DRIFT, contest={"why": "12 labelled predictions, asked: 500"})
    decision = world.turn(0, seen)["decision"]
    assert (decision["outcome"], decision["version"]) == ("kept", "2")
    assert "no judgement on live rows: 12 labelled" in decision["reasons"][-1]
    assert "version 1 stays the champion, unless somebody promotes version 2 by hand" in decision["reasons"][-1]
    assert world.training.moves() == []


def test_without_a_champion_to_hold_it_against_the_gate_alone_decides():
    trained = {"trained": True, "version": "2", "passed": True, "reasons": ["better by 0.02"]}
    better, reasons = worthy(trained, None)
    assert better
    assert reasons[-1] == "there was no champion to hold it against"


def test_the_cool_down_counts_from_the_last_training(world):
    world.turn(0, Seen(drift=DRIFT, contest=NOISE))
    assert world.turn(3, Seen(drift=DRIFT))["decision"]["outcome"] == "nothing"
    assert world.turn(8, Seen(drift=DRIFT))["decision"]["outcome"] == "promoted"
    assert world.decisions() == [("kept", "2"), ("nothing", None), ("promoted", "3")]


def test_the_cool_down_counts_from_any_training_also_one_by_hand_that_was_not_promoted(world):
    header = world.repo.layout.models / "5" / "model.json"
    write_json(header, {"metadata": {"trained_until": (START - DAY).isoformat()}})
    (world.repo.layout.models / "6").mkdir()
    (world.repo.layout.models / "6" / "model.json").write_text("{spoilt")
    decision = world.turn(0, Seen(drift=DRIFT))["decision"]
    assert decision["outcome"] == "nothing"
    assert "cool-down: the last training learned up to 2024-02-29" in decision["reasons"][-1]
    assert world.training.asked == []
    header.unlink()
    assert world.turn(1, Seen(drift=DRIFT))["decision"]["outcome"] == "promoted"


def test_people_hear_of_drift_of_a_training_of_its_promotion_and_of_its_rollback(world, hook):
    heard, url = hook
    world.settings = world.settings.model_copy(update={"notify_webhook": url})
    world.turn(0, Seen(drift=DRIFT))
    assert heard.events == ["monitoring.drift", "monitoring.retraining", "monitoring.promotion"]
    drift, begins, promoted = heard.told
    assert DRIFT["reasons"][0] in drift["text"]
    assert [row["kind"] for row in drift["facts"]["opened"]] == ["drift"]
    assert begins["subject"] == "punctual: loans: a training begins (drift)"
    assert promoted["subject"] == "punctual: loans: after training, version 2 is the champion now"
    assert "between +0.0100 and +0.0300" in promoted["text"]
    heard.got.clear()
    world.turn(1, Seen(rollback=BETTER))
    assert heard.events == ["monitoring.drift", "monitoring.rollback"]
    assert "Over: drift of" in heard.told[0]["text"]
    assert heard.told[1]["subject"] == "punctual: loans: version 2 was rolled back"
    heard.got.clear()
    world.turn(2, Seen())
    assert heard.events == []  # nothing new, nothing to say


def test_nobody_who_hears_stops_no_turn(world):
    world.settings = world.settings.model_copy(update={"notify_webhook": "http://127.0.0.1:1/hook"})
    assert world.turn(0, Seen(drift=QUIET, fails="freshness"))["alarms"]["open"] == 1


def test_looking_alone_starts_nothing_and_the_same_turn_may_act_later(world):
    looked = world.turn(0, Seen(drift=DRIFT), act=False)
    assert (looked["decision"]["outcome"], looked["decision"]["act"]) == ("looked", False)
    assert world.training.asked == []
    assert world.turn(0, Seen(drift=DRIFT))["decision"]["outcome"] == "promoted"
    assert world.training.moves() == [("promote", "2")]


def test_a_second_person_may_have_to_agree(world):
    world.training.approvals = 2
    assert world.turn(0, Seen(drift=DRIFT))["decision"]["outcome"] == "waits"
    assert world.training.moves() == []


def test_a_training_that_fails_is_an_alarm_and_the_next_turn_tries_again(world):
    world.training.fails = True
    found = world.turn(0, Seen(drift=DRIFT))
    assert found["decision"]["outcome"] == "failed"
    assert "no memory" in found["decision"]["reasons"][-1]
    world.training.fails = False
    later = world.turn(1, Seen(drift=DRIFT))
    assert later["decision"]["outcome"] == "promoted"
    assert world.turn(2, Seen())["alarms"]["open"] == 0


def test_what_cannot_be_looked_at_is_an_alarm_and_the_rest_is_seen(world):
    found = world.turn(0, Seen(fails="freshness", drift=DRIFT))
    assert {(row["kind"], row["subject"]) for row in found["alarms"]["opened"]} == {
        ("monitoring", "freshness"),
        ("drift", world.repo.problem.feature_service),
    }
    assert "does not answer" in found["freshness"]["error"]
    assert world.turn(1, Seen(fails="drift"))["decision"]["outcome"] == "nothing"
    assert world.turn(2, Seen(drift=QUIET))["alarms"]["open"] == 0


def test_a_promoted_model_that_does_worse_is_rolled_back_once_and_stays_so(world):
    world.turn(0, Seen(drift=DRIFT))
    found = world.turn(1, Seen(rollback=BETTER))
    assert (found["rollback"]["outcome"], found["rollback"]["version"]) == ("rolled back", "1")
    assert found["rollback"]["reasons"][0] == "version 2 does worse than version 1"
    # The rolled-back version is `previous` now, and would look better: it is not put back, and nothing goes to and fro.
    for day in (2, 3, 4):
        assert world.turn(day, Seen(rollback=BETTER))["rollback"] is None
    assert world.training.moves() == [("promote", "2"), ("rollback", "1")]
    # A new version is promoted over the old one; what it is held against is the old one again.
    assert world.turn(9, Seen(drift=DRIFT))["decision"]["version"] == "3"
    assert world.turn(10, Seen(rollback=BETTER))["rollback"]["facts"]["previous"] == "1"
    assert world.training.moves()[2:] == [("promote", "3"), ("rollback", "1")]


def test_a_version_that_was_rolled_back_is_not_promoted_again(world):
    with pytest.raises(Killed):
        world.turn(0, Seen(drift=DRIFT, die=("promote", "before")))
    # Somebody promotes it by hand meanwhile, and finds it wanting.
    world.training.answer("POST", "/training/models/2/promote", {"reason": "by hand"}, {})
    world.training.answer("POST", "/training/rollback", {"reason": "bad"}, {})
    world.follow()
    decision = world.turn(0, Seen(drift=DRIFT))["decision"]
    assert decision["outcome"] == "kept"
    assert "rolled back once" in decision["reasons"][-1]
    assert world.training.roles["champion"] == "1"


def test_the_more_often_one_looks_the_surer_one_must_be(world):
    world.turn(0, Seen(drift=DRIFT))
    asked = [world.turn(day, Seen(rollback=NOISE))["rollback"]["facts"]["confidence"] for day in range(1, 6)]
    errors = [1 - confidence for confidence in asked]
    assert errors == sorted(errors, reverse=True)
    assert sum(errors) < 1 - world.repo.problem.retraining.confidence
    # The same turn again is the same look.
    again = world.turn(5, Seen(rollback=NOISE))["rollback"]
    assert again["facts"]["confidence"] == asked[-1]


def test_another_champion_by_the_time_of_promotion_is_left_alone(world):
    with pytest.raises(Killed):
        world.turn(0, Seen(drift=DRIFT, die=("promote", "before")))
    world.training.answer("POST", "/training/models/7/promote", {"reason": "by hand"}, {})
    decision = world.turn(0, Seen(drift=DRIFT))["decision"]
    assert decision["outcome"] == "kept"
    assert "version 7 by now, not 1" in decision["reasons"][-1]
    assert world.training.moves() == [("promote", "7")]


def deaths(quick: str, others: list[str]) -> list[Any]:
    """Give every step and side of it to be killed at; all but those of one step are slow together."""
    slow = [pytest.param(step, when, marks=pytest.mark.slow) for step in others for when in ("before", "after")]
    return [(quick, "before"), (quick, "after"), *slow]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "when"),
    deaths("promote", [s for s in STEPS if s != "promote" and "rollback" not in s and s != "roll back"]),
)
@pytest.mark.parametrize("resumed", [True, False])
def test_killed_anywhere_a_training_happens_once_and_so_does_its_promotion(world, step, when, resumed):
    seen = Seen(drift=DRIFT, die=(step, when))
    with pytest.raises(Killed):
        world.turn(0, seen)
    world.follow()
    seen.die = None
    found = world.turn(0, seen if resumed else Seen(drift=DRIFT))
    assert found["decision"]["outcome"] == "promoted"
    assert len(world.training.jobs) == 1
    assert world.training.moves() == [("promote", "2")]
    assert world.decisions() == [("promoted", "2")]
    assert world.turn(1, Seen(drift=DRIFT))["decision"]["outcome"] == "nothing"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "when"), deaths("roll back", ["rollback", "record rollback", "notify rollback", "decide", "keep"])
)
@pytest.mark.parametrize("resumed", [True, False])
def test_killed_anywhere_a_rollback_happens_once(world, step, when, resumed):
    world.turn(0, Seen(drift=DRIFT))
    seen = Seen(rollback=BETTER, die=(step, when))
    with pytest.raises(Killed):
        world.turn(1, seen)
    world.follow()
    seen.die = None
    world.turn(1, seen if resumed else Seen(rollback=BETTER))
    assert world.training.moves() == [("promote", "2"), ("rollback", "1")]
    assert world.decisions("rollback") == [("rolled back", "1")]


@pytest.mark.parametrize("resumed", [True, False])
def test_a_turn_that_was_given_up_does_not_act_when_it_comes_back(world, resumed):
    seen = Seen(drift=DRIFT, die=("train", "after"))
    with pytest.raises(Killed):
        world.turn(0, seen)
    assert world.turn(1, Seen(drift=DRIFT, contest=NOISE))["decision"]["outcome"] == "kept"
    seen.die = None
    late = world.turn(0, seen if resumed else Seen(drift=DRIFT))
    assert late["decision"]["outcome"] == "failed"
    assert world.training.moves() == []
    assert world.decisions() == [("failed", None), ("kept", "3")]


def test_a_rollback_that_was_given_up_is_not_done_when_its_turn_comes_back(world):
    world.turn(0, Seen(drift=DRIFT))
    seen = Seen(rollback=BETTER, die=("roll back", "before"))
    with pytest.raises(Killed):
        world.turn(1, seen)
    world.turn(2, Seen())
    seen.die = None
    world.turn(1, seen)
    assert world.training.moves() == [("promote", "2")]
    assert world.decisions("rollback") == [("failed", None), ("nothing", None)]
