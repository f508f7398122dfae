"""What the store knows of an entity, for ids of any type and with any characters."""

from __future__ import annotations

import httpx
import pytest

from core.repo import FeatureRepo
from tests.asgi import Api, problem
from tests.serving import orders
from tests.serving.orders import ago
from tests.serving.world import service


def test_values_by_view_with_their_age_and_promise(api: Api) -> None:
    answer = api.get("/features/3000")
    assert answer.status_code == httpx.codes.OK, answer.text
    told = answer.json()
    assert told["entity"] == {"loan_id": 3000}
    assert told["keys"]["customer_id"] is not None
    payments = told["views"]["customer_payments"]
    assert payments["status"] == "present"
    assert payments["age_seconds"] >= 0
    assert set(payments["values"]) == {"payments_30d", "missed_30d", "last_missed"}
    assert payments["promise"]["when_older"] in ("flag", "missing", "refuse")


def test_the_values_are_those_of_predictions(api: Api) -> None:
    told = api.get("/features/3000").json()
    made = api.predict({"loan_id": 3000}).json()["predictions"][0]["prediction_id"]
    features = api.get(f"/predictions/{made}").json()["features"]
    values = {name: value for view in told["views"].values() for name, value in view["values"].items()}
    for name, value in values.items():
        assert features.get(name, value) == value


def test_ids_of_text(orders_api: Api) -> None:
    told = orders_api.get("/features/A").json()
    assert told["entity"] == {"order_id": "A"}
    assert "express" in told["must_be_sent"]
    assert told["views"]["stock"]["values"] == {"on_shelf": 8}


def test_what_predictions_are_refused_for_is_shown_all_the_same(orders_api: Api, orders_repo: FeatureRepo) -> None:
    told = orders_api.get("/features/new-shop").json()
    assert told["views"]["shops"]["status"] == "not_found"
    assert told["views"]["shops"]["event_timestamp"] is None


def test_odd_characters(orders_repo: FeatureRepo) -> None:
    basket = {"shop_id": 7, "product_code": "P-1", "items": 1, "ordered_at": orders.ORDERED_AT, "gift": False}
    odd = "a/b c?d=é&#'\"%"
    orders.put(orders_repo, baskets=[({"order_id": odd} | basket, ago(hours=1))])
    with service(orders_repo) as api:
        from urllib.parse import quote

        answer = api.get(f"/features/{quote(odd, safe='')}")
        assert answer.json()["entity"] == {"order_id": odd}


@pytest.mark.parametrize(("entity", "status"), [("999999", 404), ("abc", 422), ("1.5", 422), ("9" * 30, 422)])
def test_no_such_entity(api: Api, entity: str, status: int) -> None:
    assert entity[:20] in problem(api.get(f"/features/{entity}"), status)["detail"]
