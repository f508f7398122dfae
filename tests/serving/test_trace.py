"""From an answer back to its data: every prediction is in the log as it was given, and can be traced."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.model import PredictionModel
from core.repo import FeatureRepo
from serving.log import PredictionIds
from tests.asgi import problem
from tests.core.auth.conftest import HERE, PASSWORD
from tests.core.keys import accounts_of
from tests.serving.test_log import eventually, logged, parts
from tests.serving.world import World, key_for, service, settings_of


@pytest.fixture
def copy_api(world: World, tmp_path: Path) -> Any:
    """Give a service whose log only one test writes."""
    copy = world.copy_to(tmp_path / "loans")
    with service(copy.repo, log_queue=50) as served:
        yield served, copy.folder / "data" / "predictions"


def test_every_prediction_is_logged_as_it_was_answered(copy_api: Any, world: World) -> None:
    api, folder = copy_api
    answer = api.predict({"loan_id": 3000, "amount": 12}, {"loan_id": 1507}, headers={"x-request-id": "trace-me-1"})
    given = {p["prediction_id"]: p for p in answer.json()["predictions"]}
    api.get(f"/predictions/{next(iter(given))}")  # flushes
    rows = {row["prediction_id"]: row for part in parts(folder) for row in pq.read_table(part).to_pylist()}
    assert rows.keys() == given.keys()
    for prediction_id, prediction in given.items():
        row = rows[prediction_id]
        for name in ("probability", "class", "model_version", "stale"):
            assert row[name] == prediction[name]
        assert row["correlation_id"] == "trace-me-1"
        assert row["feature_service"] == "default_risk"
        assert row["schema_hash"] == world.model.schema_hash
        assert row["predicted_at"] == world.repo.clock.now()


def test_the_logged_vector_gives_the_logged_score_again(copy_api: Any, world: World) -> None:
    api, _ = copy_api
    ids = [p["prediction_id"] for p in api.predict(*[{"loan_id": d * 100} for d in range(20)]).json()["predictions"]]
    model: PredictionModel = world.model
    for prediction_id in ids:
        traced = api.get(f"/predictions/{prediction_id}").json()
        columns = {name: [value] for name, value in traced["features"].items()}
        assert list(columns) == [f.name for f in model.features]
        assert model.predict_proba(columns)[0] == pytest.approx(traced["probability"], abs=1e-12)


def test_a_prediction_is_traced_to_its_data(copy_api: Any, world: World) -> None:
    api, _ = copy_api
    prediction = api.predict({"loan_id": 3000}).json()["predictions"][0]
    answer = api.get(f"/predictions/{prediction['prediction_id']}")
    assert answer.status_code == httpx.codes.OK, answer.text
    traced = answer.json()
    lineage = world.model.metadata
    assert traced["lineage"] == {**lineage, "model_version": "1"}
    assert {"snapshot", "feature_service", "data_version", "registry_version"} <= set(traced["lineage"])
    assert traced["entity"]["loan_id"] == 3000
    assert {"customer_id", "amount"} <= set(traced["entity"])
    assert traced["probability"] == prediction["probability"]
    assert traced["features_as_of"] == prediction["features_as_of"]


def test_a_what_if_is_answered_traced_and_explained_like_any_other(copy_api: Any) -> None:
    api, _ = copy_api
    entities = [{"loan_id": 3000, "amount": 12}]
    plain = api.post("/predict", json={"entities": entities}).json()["predictions"][0]
    tried = api.post("/predict", json={"entities": entities, "what_if": True}).json()["predictions"][0]
    assert tried.keys() == plain.keys()
    assert tried["probability"] == plain["probability"]
    for prediction, what_if in ((plain, False), (tried, True)):
        traced = api.get(f"/predictions/{prediction['prediction_id']}").json()
        assert (traced["actor"], traced["what_if"]) == ("key:tests", what_if)
        assert traced["entity"]["amount"] == 12
        # This model has no exact explanation; what is said of a prediction is the same for both.
        assert "no exact explanation" in problem(api.get(f"/explain/{prediction['prediction_id']}"), 409)["detail"]


def test_requests_that_are_answered_together_keep_who_asked_and_whether_it_counts(copy_api: Any) -> None:
    api, _ = copy_api
    asked = [("POST", "/predict", {"json": {"entities": [{"loan_id": 3000}], "what_if": n % 2 == 0}}) for n in range(8)]
    ids = [answer.json()["predictions"][0]["prediction_id"] for answer in api.gather(asked)]
    assert [api.get(f"/predictions/{one}").json()["what_if"] for one in ids] == [True, False] * 4


def test_what_ifs_are_not_counted(copy_api: Any) -> None:
    api, _ = copy_api

    def counted() -> float:
        told = text_string_to_metric_families(api.get("/metrics").text)
        own = [metric for metric in told if metric.name == "punctual_predictions"]
        return sum(sample.value for metric in own for sample in metric.samples if sample.name.endswith("_total"))

    before = counted()
    api.post("/predict", json={"entities": [{"loan_id": 3000}] * 3, "what_if": True})
    assert counted() == before
    api.predict({"loan_id": 3000})
    assert counted() == before + 1


def test_a_user_is_logged_by_the_name_that_their_session_has(copy_api: Any, world: World) -> None:
    api, folder = copy_api
    repo = FeatureRepo.load(folder.parents[1])
    accounts = accounts_of(repo, settings_of(repo))
    accounts.users.add("anna", "user", PASSWORD, by="tests")
    token = accounts.sessions.log_in("anna", PASSWORD, HERE)["token"]
    shown = {"authorization": f"Bearer {token}"}
    made = api.predict({"loan_id": 3000}, headers=shown).json()["predictions"][0]
    assert api.get(f"/predictions/{made['prediction_id']}", headers=shown).json()["actor"] == "anna"


@pytest.mark.parametrize("beside", [True, False])
def test_a_part_of_before_who_asked_was_logged_is_read_by_who_sees_others(copy_api: Any, beside: bool) -> None:
    api, folder = copy_api
    api.show(key_for(FeatureRepo.load(folder.parents[1]), "predict", "data"))
    eventually(lambda: api.get("/models/available").status_code == httpx.codes.OK)
    old = api.predict({"loan_id": 3000}).json()["predictions"][0]["prediction_id"]
    assert api.get(f"/predictions/{old}").json()["actor"] == "key:tests"
    (part,) = parts(folder)
    pq.write_table(pq.read_table(part).drop_columns(["actor", "what_if"]), part)
    new = api.predict({"loan_id": 3000}).json()["predictions"][0]["prediction_id"] if beside else None
    traced = api.get(f"/predictions/{old}").json()
    assert (traced["actor"], traced["what_if"]) == (None, False)
    if new:
        assert api.get(f"/predictions/{new}").json()["actor"] == "key:tests"


def test_traced_right_after_it_was_given_and_while_others_are(copy_api: Any) -> None:
    api, _ = copy_api
    for _ in range(5):
        ids = [p["prediction_id"] for p in api.predict({"loan_id": 3000}, {"loan_id": 1507}).json()["predictions"]]
        for prediction_id in ids:
            assert api.get(f"/predictions/{prediction_id}").json()["prediction_id"] == prediction_id


def test_traced_when_its_part_was_begun_before_midnight(copy_api: Any) -> None:
    api, folder = copy_api
    prediction_id = api.predict({"loan_id": 3000}).json()["predictions"][0]["prediction_id"]
    path = f"/predictions/{prediction_id}"
    assert api.get(path).status_code == httpx.codes.OK
    part = parts(folder)[0]
    day = datetime.fromisoformat(part.parent.name)
    for days, status in ((1, 200), (2, 404), (-1, 404)):
        other = folder / f"{day - timedelta(days=days):%Y-%m-%d}"
        other.mkdir()
        part = part.rename(other / part.name)
        assert api.get(path).status_code == status


def test_only_parts_that_may_hold_it_are_opened(copy_api: Any) -> None:
    api, folder = copy_api
    prediction_id = api.predict({"loan_id": 3000}).json()["predictions"][0]["prediction_id"]
    path = f"/predictions/{prediction_id}"
    assert api.get(path).status_code == httpx.codes.OK
    (part,) = parts(folder)
    for i in range(40):  # what was begun before: looked into from the newest on, until it is found
        part.with_name(f"{i:032x}-1.parquet").write_text("no parquet")
    part.with_name(f"{'f' * 32}-1.parquet").write_text("no parquet")
    for i in range(20):
        pq.write_table(pq.read_table(part).slice(0, 0), part.with_name(f"{prediction_id[:-2]}00-{i}.parquet"))
    assert api.get(path).status_code == httpx.codes.OK
    problem(api.get(f"/predictions/{PredictionIds().next(1)[0][:-1]}"), 404)


def test_an_id_that_could_be_ours_but_is_in_no_part(copy_api: Any) -> None:
    api, _ = copy_api
    api.predict({"loan_id": 3000})
    problem(api.get(f"/predictions/{PredictionIds().next(1)[0]}"), 404)


def test_a_request_is_refused_when_the_log_cannot_keep_up(copy_api: Any) -> None:
    api, folder = copy_api
    in_the_way = folder.parent / "spool"
    shutil.rmtree(in_the_way, ignore_errors=True)
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("")  # the disk refuses
    for _ in range(5):
        assert api.predict(*[{"loan_id": 3000}] * 10).status_code == httpx.codes.OK
    answer = api.predict({"loan_id": 3000})
    assert "50" in problem(answer, 503)["detail"]
    assert int(answer.headers["retry-after"]) > 0
    eventually(lambda: api.get("/health").status_code == httpx.codes.SERVICE_UNAVAILABLE)
    assert api.get("/health").json()["dependencies"]["log"]["status"] == "error"
    in_the_way.unlink()  # the disk is back
    eventually(lambda: api.predict({"loan_id": 3000}).status_code == httpx.codes.OK)
    eventually(lambda: len(logged(folder)) >= 51)
    assert api.get("/health").status_code == httpx.codes.OK


def test_a_wrong_request_leaves_nothing_in_the_log(copy_api: Any) -> None:
    api, folder = copy_api
    problem(api.predict({"loan_id": 3000}, {"loan_id": 999_999}), 404)
    problem(api.predict({"loan_id": 3000}, {"loan_id": "x"}), 422)
    kept = api.predict({"loan_id": 3000}).json()["predictions"][0]["prediction_id"]
    api.get(f"/predictions/{kept}")
    assert logged(folder) == [kept]
