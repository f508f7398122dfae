"""From an answer back to its data: every prediction is in the log as it was given, and can be traced."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from core.model import PredictionModel
from serving.log import PredictionIds
from tests.asgi import problem
from tests.serving.test_log import eventually, logged, parts
from tests.serving.world import World, service


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


def test_an_id_that_could_be_ours_but_is_in_no_part(copy_api: Any) -> None:
    api, _ = copy_api
    api.predict({"loan_id": 3000})
    problem(api.get(f"/predictions/{PredictionIds().next()}"), 404)


def test_a_request_is_refused_when_the_log_cannot_keep_up(copy_api: Any) -> None:
    api, folder = copy_api
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("in the way")  # the disk refuses
    for _ in range(5):
        assert api.predict(*[{"loan_id": 3000}] * 10).status_code == httpx.codes.OK
    answer = api.predict({"loan_id": 3000})
    assert "50" in problem(answer, 503)["detail"]
    assert int(answer.headers["retry-after"]) > 0
    eventually(lambda: api.get("/health").status_code == httpx.codes.SERVICE_UNAVAILABLE)
    assert api.get("/health").json()["dependencies"]["log"]["status"] == "error"
    folder.unlink()  # the disk is back
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
