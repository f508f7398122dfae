"""Every wrong request is answered with problem details that say which entity is wrong, and why."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from core.model import Feature
from core.settings import Settings
from tests.asgi import Api, chunks, problem
from tests.serving.test_log import eventually
from tests.serving.world import World, service

GOOD = {"loan_id": 3000}


def by_entity(members: dict[str, Any]) -> dict[int, str]:
    """Return what is said of each offending entity."""
    return {error["entity"]: error["detail"] for error in members["errors"]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "json"),
        (b"{", "json"),
        (b"entities=1", "json"),
        (b"\xff\xfe\x00", "json"),
        (b"[1, 2]", "object"),
        (b'"entities"', "object"),
        (b"null", "object"),
        (b"{}", "entities"),
        (b'{"entities": null}', "entities"),
        (b'{"entities": {"loan_id": 3000}}', "entities"),
        (b'{"entities": []}', "entities"),
        (b'{"entities": [{"loan_id": 3000}], "extra": 1}', "extra"),
    ],
)
def test_a_body_that_is_no_request(api: Api, body: bytes, says: str) -> None:
    members = problem(api.post("/predict", content=body), 422)
    assert says in members["detail"].lower()


@pytest.mark.parametrize(
    ("entity", "says"),
    [
        ({}, "loan_id"),
        ({"customer_id": 3}, "loan_id"),
        ({"loan_id": None}, "loan_id"),
        ({"loan_id": "3000"}, "3000"),
        ({"loan_id": True}, "true"),
        ({"loan_id": 3000.5}, "3000.5"),
        ({"loan_id": [3000]}, "loan_id"),
        ({"loan_id": {"id": 3000}}, "loan_id"),
        ({"loan_id": 2**63}, "loan_id"),
        ({"loan_id": 3000, "customer_id": "7"}, "customer_id"),
        ({"loan_id": 3000, "amount": "much"}, "amount"),
        ({"loan_id": 3000, "amount": False}, "amount"),
        ({"loan_id": 3000, "colour": "red"}, "colour"),
        (3000, "object"),
        ("3000", "object"),
        (None, "object"),
        ([3000], "object"),
    ],
)
def test_a_wrong_entity_is_named_with_the_reason(api: Api, entity: Any, says: str) -> None:
    members = problem(api.predict(GOOD, entity, GOOD), 422)
    said = by_entity(members)
    assert list(said) == [1]
    assert says in said[1].lower()


def test_an_unknown_field_is_answered_with_the_allowed_ones(api: Api) -> None:
    said = by_entity(problem(api.predict({"loan_id": 3000, "colour": "red"}), 422))[0]
    for allowed in ("loan_id", "customer_id", "amount"):
        assert allowed in said


def test_every_wrong_entity_is_listed_and_no_prediction_given(api: Api) -> None:
    answer = api.predict(GOOD, {"loan_id": "x"}, GOOD, {}, {"loan_id": 3001, "colour": 1})
    members = problem(answer, 422)
    assert set(by_entity(members)) == {1, 3, 4}
    assert "predictions" not in members


def test_an_unknown_id(api: Api) -> None:
    members = problem(api.predict(GOOD, {"loan_id": 999_999}, {"loan_id": -1}), 404)
    said = by_entity(members)
    assert set(said) == {1, 2}
    assert "999999" in said[1]
    assert "-1" in said[2]


def test_a_large_report_stays_readable(api: Api, settings: Settings) -> None:
    answer = api.predict(*[{"loan_id": f"bad-{i}"} for i in range(settings.max_batch)])
    members = problem(answer, 422)
    assert len(members["detail"]) < 1000


def test_more_entities_than_allowed(api: Api, settings: Settings) -> None:
    members = problem(api.predict(*[GOOD] * (settings.max_batch + 1)), 413)
    assert str(settings.max_batch) in members["detail"]
    assert api.predict(*[GOOD] * settings.max_batch).status_code == httpx.codes.OK


def test_more_bytes_than_allowed(api: Api, settings: Settings) -> None:
    members = problem(api.post("/predict", content=b" " * (settings.max_body_bytes + 1)), 413)
    assert str(settings.max_body_bytes) in members["detail"].replace(",", "")


def test_more_bytes_than_allowed_without_an_announced_length(api: Api, settings: Settings) -> None:
    part = b" " * (settings.max_body_bytes // 4)
    problem(api.post("/predict", content=chunks(*[part] * 5)), 413)


def test_a_body_in_pieces_is_one_body(api: Api) -> None:
    answer = api.post("/predict", content=chunks(b'{"entities": [{"loan', b"", b'_id": 3000}]}'))
    assert answer.status_code == httpx.codes.OK, answer.text


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method(api: Api, method: str) -> None:
    answer = api.request(method, "/predict")
    problem(answer, 405)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/nowhere", "/predict/", "/predictions", "/models"])
def test_a_wrong_path(api: Api, path: str) -> None:
    problem(api.get(path), 404)


def test_an_unknown_prediction(api: Api) -> None:
    members = problem(api.get("/predictions/no-such-id"), 404)
    assert "no-such-id" in members["detail"]


def test_a_prediction_id_is_no_way_into_sql_or_files(api: Api) -> None:
    for sly in ("' OR 1=1 --", "..%2F..%2Fetc%2Fpasswd", "%00", "*"):
        problem(api.get(f"/predictions/{sly}"), 404)


def test_a_store_that_is_empty_then_filled_then_away_then_back(own_world: World) -> None:
    with service(own_world.repo) as api:
        problem(api.predict(GOOD), 404)
        own_world.fill()
        assert api.predict(GOOD).status_code == httpx.codes.OK
        own_world.server.stop()
        answer = api.predict(GOOD)
        assert "PUNCTUAL_REDIS" in problem(answer, 503)["detail"]
        assert int(answer.headers["retry-after"]) > 0
        assert api.get("/health").json()["dependencies"]["store"]["status"] == "error"
        own_world.server.start()
        assert api.predict(GOOD).status_code == httpx.codes.OK
        assert api.get("/health").status_code == httpx.codes.OK


def test_a_service_may_start_before_its_store(own_world: World) -> None:
    own_world.fill()
    own_world.server.stop()
    with service(own_world.repo) as api:
        problem(api.predict(GOOD), 503)
        own_world.server.start()
        assert api.predict(GOOD).status_code == httpx.codes.OK


def test_no_model_yet(own_world: World) -> None:
    own_world.fill()
    pointer = own_world.folder / "data" / "models" / "champion.json"
    content = pointer.read_text()
    pointer.unlink()
    with service(own_world.repo, model_poll=0.05) as api:
        assert "punctual train" in problem(api.predict(GOOD), 503)["detail"]
        health = api.get("/health")
        assert health.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert "punctual train" in health.json()["dependencies"]["model"]["detail"]
        pointer.write_text(content)
        eventually(lambda: api.predict(GOOD).status_code == httpx.codes.OK)
        assert api.get("/health").status_code == httpx.codes.OK


def test_a_model_of_another_feature_service(own_world: World) -> None:
    model = own_world.model
    model.features.append(Feature("shoe_size", "numeric"))
    model.save(own_world.folder / "data" / "models" / "1")
    with service(own_world.repo) as api:
        assert "shoe_size" in problem(api.predict(GOOD), 503)["detail"]
