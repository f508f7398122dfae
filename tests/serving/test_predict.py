"""Predictions over HTTP: from an id alone, from keys, with request-time inputs; checked against Feast's own SDK."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from feast import FeatureStore

from core.model import PredictionModel
from stores.registry import open_store
from tests.asgi import Api
from tests.serving.world import INPUTS, World

LOANS = [3000, 1507, 5919, 100]


def predictions(answer: httpx.Response) -> list[dict[str, Any]]:
    """Return the predictions of an answer that must be good."""
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.json()["predictions"]


@pytest.fixture(scope="module")
def store(world: World) -> FeatureStore:
    return open_store(world.repo)


@pytest.fixture(scope="module")
def model(world: World) -> PredictionModel:
    return world.model


def through_the_sdk(store: FeatureStore, loans: list[int], **inputs: float) -> dict[str, list[Any]]:
    """Look the keys up and read the features as any Feast client would."""
    terms = store.get_online_features(
        ["loan_terms:customer_id", "loan_terms:amount"], [{"loan_id": loan} for loan in loans]
    ).to_dict()
    rows = [
        {"loan_id": loan, "customer_id": customer, "amount": inputs.get("amount", amount)}
        for loan, customer, amount in zip(loans, terms["customer_id"], terms["amount"], strict=True)
    ]
    return store.get_online_features(store.get_feature_service("default_risk"), rows).to_dict()


def test_the_id_alone_is_enough(api: Api, store: FeatureStore, model: PredictionModel) -> None:
    got = predictions(api.predict(*[{"loan_id": loan} for loan in LOANS]))
    expected = model.predict_proba(through_the_sdk(store, LOANS))
    np.testing.assert_allclose([p["probability"] for p in got], expected, atol=1e-6)
    for prediction, loan, probability in zip(got, LOANS, expected, strict=True):
        assert prediction["loan_id"] == loan
        assert prediction["class"] == model.label(probability)
        assert prediction["model_version"] == "1"


def test_every_prediction_has_an_id_of_its_own_in_the_order_of_time(api: Api) -> None:
    first = [p["prediction_id"] for p in predictions(api.predict(*[{"loan_id": 3000}] * 20))]
    later = [p["prediction_id"] for p in predictions(api.predict({"loan_id": 3000}))]
    assert len({*first, *later}) == 21
    assert max(first) < later[0]


def test_says_as_of_when_the_features_are(api: Api, world: World) -> None:
    prediction = predictions(api.predict({"loan_id": 3000}))[0]
    as_of = {view: datetime.fromisoformat(moment) for view, moment in prediction["features_as_of"].items()}
    assert set(as_of) == {"loan_terms", "customer_payments"}
    assert as_of["loan_terms"] < datetime(2024, 2, 1, tzinfo=UTC)
    assert all(moment <= world.repo.clock.now() for moment in as_of.values())
    assert prediction["stale"] == []


def test_keys_that_are_sent_are_used(api: Api, store: FeatureStore, model: PredictionModel) -> None:
    rows = [{"loan_id": 3000, "customer_id": customer, "amount": 100.0} for customer in (5, 6)]
    got = predictions(api.predict(*rows))
    features = store.get_online_features(store.get_feature_service("default_risk"), rows).to_dict()
    np.testing.assert_allclose([p["probability"] for p in got], model.predict_proba(features), atol=1e-6)
    assert [p["customer_id"] for p in got] == [5, 6]


def test_inputs_that_are_sent_override_what_is_stored(api: Api, store: FeatureStore, model: PredictionModel) -> None:
    for amount in (1, 4999.5):
        got = predictions(api.predict({"loan_id": 3000, "amount": amount}))
        expected = model.predict_proba(through_the_sdk(store, [3000], amount=amount))
        assert got[0]["probability"] == pytest.approx(expected[0], abs=1e-6)


def test_a_customer_without_history_is_predicted_from_the_rest(api: Api, model: PredictionModel) -> None:
    prediction = predictions(api.predict({"loan_id": 3000, "customer_id": 4711}))[0]
    columns: dict[str, list[Any]] = {f.name: [None] for f in INPUTS}
    assert 0 <= prediction["probability"] <= 1
    assert "customer_payments" not in {k for k, v in prediction["features_as_of"].items() if v is not None}
    assert model.predict_proba(columns).shape == (1,)


def test_the_same_entity_twice_is_answered_twice(api: Api) -> None:
    got = predictions(api.predict({"loan_id": 3000}, {"loan_id": 1507}, {"loan_id": 3000}))
    assert [p["loan_id"] for p in got] == [3000, 1507, 3000]
    assert got[0]["probability"] == got[2]["probability"]


def test_a_row_is_answered_the_same_alone_and_in_a_batch(api: Api) -> None:
    loans = [day * 100 + 3 for day in range(20)]
    together = [p["probability"] for p in predictions(api.predict(*[{"loan_id": loan} for loan in loans]))]
    alone = [predictions(api.predict({"loan_id": loan}))[0]["probability"] for loan in loans]
    assert together == alone


@pytest.mark.parametrize(
    "content_type", [None, "application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8"]
)
def test_plain_curl_is_enough(api: Api, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    predictions(api.post("/predict", content=b'{"entities":[{"loan_id": 3000}]}', headers=headers))


def test_many_at_once(api: Api) -> None:
    loans = [day * 100 + i for day in range(10) for i in range(20)]
    answers = api.gather([("POST", "/predict", {"json": {"entities": [{"loan_id": loan}]}}) for loan in loans])
    assert [predictions(a)[0]["loan_id"] for a in answers] == loans
    assert len({predictions(a)[0]["prediction_id"] for a in answers}) == len(loans)


def test_health_names_what_it_depends_on(api: Api) -> None:
    answer = api.get("/health")
    assert answer.status_code == httpx.codes.OK
    health = answer.json()
    assert {"store", "model"} <= set(health["dependencies"])
    assert all(d["status"] == "ok" for d in health["dependencies"].values())


def test_lists_the_models(api: Api) -> None:
    listed = api.get("/models/available").json()
    assert [m["version"] for m in listed["models"]] == ["1"]
    assert listed["champion"] == "1"


def test_documents_itself(api: Api) -> None:
    described = api.get("/openapi.json").json()
    predict = described["paths"]["/predict"]["post"]
    assert "loan_id" in str(predict["requestBody"])
    assert {"200", "404", "413", "422", "503"} <= set(predict["responses"])
    assert "/health" in described["paths"]
    assert api.get("/docs").status_code == httpx.codes.OK


def test_the_documented_examples_work(api: Api) -> None:
    described = api.get("/openapi.json").json()
    content = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    asked = [example["value"] for example in content["examples"].values()]
    for example in asked:
        example["entities"][0]["loan_id"] = 3000
        predictions(api.post("/predict", json=example))
    assert [example.get("what_if", False) for example in asked] == [False, True]
    assert content["schema"]["properties"]["what_if"]["default"] is False


def test_values_that_grew_old_are_served_and_flagged(world: World, api: Api) -> None:
    """The loans' clock stands at the last window: nobody's payments are older than 30 days by then, or flagged."""
    now = world.repo.clock.now()
    for prediction in predictions(api.predict(*[{"loan_id": day * 100} for day in range(20)])):
        moment = prediction["features_as_of"].get("customer_payments")
        old = moment is not None and now - datetime.fromisoformat(moment) > timedelta(days=30)
        assert ("customer_payments" in prediction["stale"]) == old
