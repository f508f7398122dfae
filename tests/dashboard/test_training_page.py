"""A training watched while it goes on: the page on the real service, and what each candidate tells of itself."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from streamlit.testing.v1 import AppTest

import ingestion.service
import training.service
from core.auth import Accounts
from core.progress import FORMAT, parse_progress
from core.settings import get_settings
from dashboard.parts.jobs import lasted, passages, rounds
from dashboard.services import Services, services
from tests.core.auth.conftest import PASSWORD
from tests.core.keys import accounts_of
from tests.dashboard.conftest import Served
from tests.dashboard.test_pages import Tab, named, text
from tests.serving import world as worlds
from tests.serving.world import World, settings_of
from training.candidates import CANDIDATES
from training.overrides import Overrides
from training.params import TrainParams
from training.train import train

TOOK = r"(\d+ min )?\d+ s"
START = datetime(2024, 3, 1, tzinfo=UTC)
_PATIENCE_SECONDS = 300


def test_what_a_job_was_at_is_told_with_how_long_it_took():
    said = ["Training a", "Training a", "Training b: round 0, validation log loss 0.6", "Training b: round 10", "c"]
    notes = [(START + timedelta(seconds=10 * i), note) for i, note in enumerate(said)]
    assert passages(notes) == [("Training a", 20.0), ("Training b", 20.0), ("c", 0.0)]
    assert passages([]) == []


@pytest.mark.parametrize(("seconds", "says"), [(-3, "0 s"), (0.9, "0 s"), (59.9, "59 s"), (125, "2 min 5 s")])
def test_how_long_something_took_is_told_shortly(seconds: float, says: str):
    assert lasted(seconds) == says


def test_a_round_that_is_told_twice_is_one():
    told = ["round 0, validation log loss 0.6900", *["round 10, validation log loss 0.5000"] * 3]
    assert rounds(told) == {0: 0.69, 10: 0.5}


@dataclass
class Machine:
    """The services that the page needs."""

    world: World
    accounts: Accounts
    services: Services


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    get_settings()
    world = worlds.build(tmp_path_factory.mktemp("watched") / "loans")
    repo, settings = world.repo, settings_of(world.repo)
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        data = stack.enter_context(Served(ingestion.service.build_app(repo, settings)))
        trains = stack.enter_context(Served(training.service.build_app(repo, settings)))
        patch.setenv("PUNCTUAL_DATA_URL", data.url)
        patch.setenv("PUNCTUAL_TRAINING_URL", trains.url)
        get_settings.cache_clear()
        services.cache_clear()
        made = services()
        httpx.get(f"{trains.url}/health", timeout=_PATIENCE_SECONDS)  # (the first one opens MLflow, and is slow)
        made.board.look()
        accounts = accounts_of(repo, settings)
        accounts.users.add("ada", "admin", PASSWORD, by="tests")
        yield Machine(world, accounts, made)
        made.close()
    get_settings.cache_clear()
    services.cache_clear()
    world.server.stop()


@pytest.mark.slow
def test_every_candidate_says_that_it_is_at_work(machine: Machine, capfd, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(FORMAT, "json")
    overrides = Overrides.checked(candidates=list(CANDIDATES))
    train(machine.world.repo, TrainParams(), promote=False, overrides=overrides)
    told = [found for line in capfd.readouterr().err.splitlines() if (found := parse_progress(line))]
    notes = [f"{task} {note}" for task, _, note in told]
    at = [what for what, _ in passages([(START, note) for note in notes])]
    assert [what for what in at if what.removeprefix("Training ") in CANDIDATES] == [
        f"Training {name}" for name in CANDIDATES
    ]
    assert len(rounds(notes)) > 1, "the one that learns in rounds tells of them"


@pytest.mark.slow
def test_a_training_is_watched_with_its_steps_and_how_long_they_take(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    tab = Tab(machine.services, monkeypatch)
    tab.log_in("ada")
    app = tab.open("training")
    named(app.pills, "Candidates").set_value(list(CANDIDATES))
    named(app.button, "Retrain").click().run()
    seen, deadline = list[str](), time.monotonic() + _PATIENCE_SECONDS
    while _badges(app) & {"queued", "running"}:
        assert time.monotonic() < deadline, text(app)
        seen.append(text(app))
        app.run()
        assert not app.exception
    assert "done" in _badges(app), text(app)
    looks = " ".join(seen)
    assert re.search(rf":material/pending: train {TOOK}", looks), "the step that is at work, and for how long"
    assert re.search(rf"As watched here: .*Training \S+ {TOOK}", looks)
    assert re.search(rf":material/check_circle: dataset {TOOK}", text(app))
    assert re.search(rf":material/check_circle: train {TOOK}", text(app))


def _badges(app: AppTest) -> set[str]:
    return set(re.findall(r"-badge\[(\w+)\]", " ".join(str(one.value) for one in app.markdown)))
