"""What was asked outlives the session: the page on real services, over sockets, and a log that one of them writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from starlette.responses import JSONResponse
from streamlit.testing.v1 import AppTest

import ingestion.service
import serving.service
from core.auth import Accounts
from core.files import read_json
from core.model import HEADER
from core.reference import SCORE, Reference
from core.service import create_app, harden
from core.settings import get_settings
from dashboard.parts.history import OPENED, merged, near, told_row
from dashboard.services import Caller, Services, services
from monitoring.history_routes import add_history_routes
from monitoring.matching import truth_schema
from monitoring.truth_store import TruthStore
from tests.core.auth.conftest import PASSWORD, until
from tests.core.keys import accounts_of
from tests.dashboard.conftest import Served, _nothing
from tests.dashboard.test_pages import Tab, named, text
from tests.serving import world as worlds
from tests.serving.world import World, settings_of

pytestmark = pytest.mark.slow

LOAN = 3000
LOGGED = {
    "prediction_id": "b",
    "predicted_at": "2024-03-01T00:00:00Z",
    "served_at": "2024-05-01T12:00:00.5Z",
    "entity": {"loan_id": 7, "amount": 4.5},
    "class": "paid",
    "probability": 0.25,
    "model_version": "1",
    "stale": [],
    "actor": "bo",
    "what_if": True,
    "outcome": None,
}
OWN = {
    "at": "2024-05-01T12:00:02+00:00",
    "entity": "7",
    "asked": "what if amount = 4.5",
    **{name: LOGGED[name] for name in ("class", "probability", "model_version", "stale", "what_if")},
}


def test_what_is_in_the_session_and_in_the_log_is_shown_once():
    rows = [told_row(LOGGED, "loan_id", ("paid", "missed"))]
    rows += [told_row({**LOGGED, "prediction_id": "a", "what_if": False, "outcome": 1}, None, ("paid", "missed"))]
    found = merged([{**OWN, "prediction_id": "c"}, {**OWN, "prediction_id": "b"}], rows)
    assert [row["prediction_id"] for row in found] == ["c", "b", "a"]
    assert [row["asked"] for row in found] == ["what if amount = 4.5", "what if amount = 4.5", "as it is"]
    assert [row["came out"] for row in found] == ["-", "-", "missed"]
    assert [row["entity"] for row in found] == ["7"] * 3
    assert [row["with"] for row in found] == ["", "amount: 4.5", "amount: 4.5"]
    assert found[1]["at"] == "2024-05-01T12:00:00+00:00"


def test_an_entity_without_a_known_key_is_shown_by_its_first_value():
    assert told_row({**LOGGED, "entity": {}}, "loan_id", ("no", "yes"))["entity"] == ""
    assert told_row(LOGGED, "flight_id", ("no", "yes"))["entity"] == "7"


def test_those_with_a_like_answer_come_the_nearest_first_and_no_further_than_that():
    rows = [{"probability": one, "prediction_id": str(one)} for one in (0.5, 0.26, 0.1, 0.22, 0.301, 0.25)]
    assert [row["probability"] for row in near(rows, 0.25)] == [0.25, 0.26, 0.22]
    assert [row["probability"] for row in near(rows, 0.25, most=1)] == [0.25]
    assert near(rows, 0.9) == []


class Refusing:
    """An app before the prediction service that, told to, refuses to predict, as that does without its log's disk."""

    def __init__(self, app: Any) -> None:
        self._app, self.refuses = app, False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.refuses and scope["type"] == "http" and scope["path"].endswith("/predict"):
            await JSONResponse({"detail": "The log is *full*."}, 503)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


@dataclass
class Machine:
    """The services that the page needs, each of which may be stopped."""

    world: World
    accounts: Accounts
    services: Services
    monitoring: ExitStack
    prediction: Refusing

    def user(self, name: str, role: str = "user") -> str:
        if not self.accounts.users.exists(name):
            self.accounts.users.add(name, role, PASSWORD, by="tests")
        return name


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    get_settings()
    world = worlds.build(tmp_path_factory.mktemp("history") / "loans")
    repo, settings = world.repo, settings_of(world.repo)
    looks = create_app("t", name="monitoring", lifespan=_nothing, checks={}, repo=repo, settings=settings)
    add_history_routes(looks, repo)
    prediction = Refusing(serving.service.build_app(repo, settings))
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        monitoring = stack.enter_context(ExitStack())
        urls = {
            "data": stack.enter_context(Served(ingestion.service.build_app(repo, settings))).url,
            "prediction": stack.enter_context(Served(prediction)).url,
            "monitoring": monitoring.enter_context(Served(harden(looks))).url,
            "training": "http://127.0.0.1:1",
        }
        for name, url in urls.items():
            patch.setenv(f"PUNCTUAL_{name.upper()}_URL", url)
        get_settings.cache_clear()
        services.cache_clear()
        made = services()
        made.board.look()
        yield Machine(world, accounts_of(repo, settings), made, monitoring, prediction)
        made.close()
    get_settings.cache_clear()
    services.cache_clear()
    world.server.stop()


@pytest.fixture
def tab(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Tab:
    return Tab(machine.services, monkeypatch)


def choose(app: AppTest, loan: int = LOAN) -> AppTest:
    app.session_state[OPENED] = True
    app = named(app.text_input, "Find a loan id").set_value(str(loan)).run()
    return named(app.selectbox, "loan id").set_value(str(loan)).run()


def history(app: AppTest) -> list[dict[str, Any]]:
    """Return the rows of what was asked."""
    return _rows(app, {"entity"})


def similar(app: AppTest) -> list[dict[str, Any]]:
    """Return the rows of what was asked before about the entity."""
    return _rows(app, {"actor"})


def like(app: AppTest) -> list[dict[str, Any]]:
    """Return the rows of other entities with a like answer."""
    return _rows(app, {"entity", "actor"})


def _rows(app: AppTest, columns: set[str]) -> list[dict[str, Any]]:
    shown = [frame.value for frame in app.dataframe if columns == {"entity", "actor"} & set(frame.value.columns)]
    return shown[0].to_dict("records") if shown else []


@pytest.fixture(scope="module")
def asked(machine: Machine) -> list[dict[str, Any]]:
    """Let bo ask for a loan as it is, and what if; give what the log has of it, the newest first."""
    with pytest.MonkeyPatch.context() as patch:
        tab = Tab(machine.services, patch)
        caller = tab.log_in(machine.user("bo"))
        app = choose(tab.open())
        named(app.button, "Predict").click().run()
        named(app.number_input, "amount").set_value(4900)
        named(app.button, "Ask what if").click().run()
        assert not app.exception
        rows = history(app)
        assert [row["asked"] for row in rows] == ["what if amount = 4,900", "as it is"]
        assert {row["entity"] for row in rows} == {str(LOAN)}
        return [caller.get("prediction", f"/predictions/{row['prediction_id']}") for row in rows]


def test_what_if_is_sent_as_such(asked: list[dict[str, Any]]):
    assert [(row["actor"], row["what_if"], row["entity"]["loan_id"]) for row in asked] == [
        ("bo", True, LOAN),
        ("bo", False, LOAN),
    ]
    assert asked[0]["entity"]["amount"] == 4900


def test_it_is_there_after_another_log_in_with_what_came_of_it(tab: Tab, machine: Machine, asked: list[dict[str, Any]]):
    plain = asked[1]
    columns = ("prediction_id", "model_version", "probability", "class")
    row = {name: plain[name] for name in columns} | {"predicted_at": machine.world.repo.clock.now(), "label": 1}
    store = TruthStore(machine.world.repo.layout)
    store.keep(row["predicted_at"].date(), "v", pa.Table.from_pylist([row], schema=truth_schema([])), 0)
    tab.log_in(machine.user("bo"))
    rows = history(tab.open())
    assert [row["prediction_id"] for row in rows] == [row["prediction_id"] for row in asked]
    assert [(row["asked"], row["came out"]) for row in rows] == [("what if", "-"), ("as it is", "missed")]
    assert "amount: 4,900" in rows[0]["with"]


def test_it_can_be_narrowed_to_what_ifs_and_by_words(tab: Tab, machine: Machine, asked: list[dict[str, Any]]):
    tab.log_in(machine.user("bo"))
    app = tab.open()
    app.button_group[0].set_value(["what if"]).run()
    assert [row["asked"] for row in history(app)] == ["what if"]
    named(app.text_input, "Filter").set_value("nothing like it").run()
    assert history(app) == []


def test_others_see_nothing_of_it_and_administrators_what_was_asked_about_an_entity(
    tab: Tab, machine: Machine, asked: list[dict[str, Any]]
):
    tab.log_in(machine.user("cy"))
    app = choose(tab.open())
    assert history(app) == similar(app) == []
    assert "Nothing that you may see" in text(app)
    tab.log_in(machine.user("bo"))
    assert [row["actor"] for row in similar(choose(tab.open()))] == ["bo", "bo"]
    tab.log_in(machine.user("root", "admin"))
    app = choose(tab.open())
    assert history(app) == []
    assert [(row["actor"], row["asked"]) for row in similar(app)] == [("bo", "what if"), ("bo", "as it is")]
    assert similar(choose(app, 1507)) == []


def test_others_that_came_out_alike_are_shown_beside_a_prediction_once_somebody_looks(
    tab: Tab, machine: Machine, asked: list[dict[str, Any]]
):
    caller = tab.log_in(machine.user("eve"))
    loans = [*range(2900, 2920), *range(3000, 3020)]
    sent = caller.send("prediction", "POST", "/predict", {"entities": [{"loan_id": loan} for loan in loans]})
    answers = {str(loan): one for loan, one in zip(loans, sent["predictions"], strict=True)}
    here = answers[str(LOAN)]
    alike = {
        loan: one
        for loan, one in answers.items()
        if loan != str(LOAN) and one["class"] == here["class"] and abs(one["probability"] - here["probability"]) <= 0.05
    }
    assert 0 < len(alike) < len(answers) - 1, "some are alike, and some are not"
    app = choose(tab.open())
    assert like(app) == [], "nothing is predicted yet, so there is nothing to be like"
    until(lambda: len(_logged_of(caller)) >= len(loans), 5)
    named(app.button, "Predict").click().run()
    rows = like(app)
    assert {row["entity"] for row in rows} <= set(alike)
    assert len(rows) == min(len(alike), 20)
    away = [abs(row["probability"] - here["probability"]) for row in rows]
    assert away == sorted(away)
    assert {row["actor"] for row in rows} == {"eve"}, "others' are not shown"
    app.session_state[OPENED] = False
    app.run()
    assert like(app) == similar(app) == [], "the log is not asked for what nobody looks at"


def _logged_of(caller: Caller) -> list[dict[str, Any]]:
    return list(caller.get("monitoring", "/monitoring/predictions", limit=500)["predictions"])


def test_a_refused_what_if_keeps_what_was_typed_and_the_rest_of_the_page(
    tab: Tab, machine: Machine, asked: list[dict[str, Any]]
):
    tab.log_in(machine.user("bo"))
    app = choose(tab.open())
    named(app.button, "Predict").click().run()
    rows = len(history(app))
    named(app.number_input, "amount").set_value(4700)
    machine.prediction.refuses = True
    try:
        for button in ("Ask what if", "Predict"):
            named(app.button, button).click().run()
            assert not app.exception
            assert "The log is *full*." in " ".join(str(one.value) for one in app.warning), button
            assert named(app.number_input, "amount").value == 4700, "what was typed is still there"
            assert any(one.label.startswith("Probability of") for one in app.metric), "and what was predicted before"
            assert "Grey bars: up to 1,000 rows" in text(app), "and what is known"
            assert len(history(app)) == rows, "and what was asked"
            assert similar(app), "and what is similar"
    finally:
        machine.prediction.refuses = False
    named(app.button, "Ask what if").click().run()
    assert history(app)[0]["asked"] == "what if amount = 4,700"


def test_without_the_monitoring_service_what_was_just_asked_is_still_there(
    tab: Tab, machine: Machine, asked: list[dict[str, Any]]
):
    tab.log_in(machine.user("bo"))
    app = choose(tab.open())
    machine.monitoring.close()
    machine.services.board.look()
    named(app.button, "Predict").click().run()
    assert not app.exception
    assert "monitoring service is down" in text(app)
    assert len(history(app)) == 1
    assert any(one.label.startswith("Probability of") for one in app.metric), "the rest of the page is there"


def test_cards_stand_among_what_the_model_learned_from(tab: Tab, machine: Machine):
    layout = machine.world.repo.layout
    (header,) = layout.models.glob(f"*/{HEADER}")
    names = [one["name"] for one in read_json(header)["features"]]
    profile = {"features": [{"name": name, "kind": "numeric"} for name in names]}
    rows = {name: [float(row) for row in range(200)] for name in names}
    Reference(profile, pa.table({**rows, SCORE: [0.5] * 200})).save(header.parent)
    tab.log_in(machine.user("bo"))
    app = choose(tab.open())
    assert f"rows that model {header.parent.name} learned from" in text(app)
    cards = "".join(str(one.value) for one in app.get("html"))
    assert "of 200 rows" in cards
