"""What the model is given: every type, on-demand views of every mode, old and missing values. The SDK is the judge."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from feast import FeatureStore

from core.repo import FeatureRepo
from stores.registry import open_store
from tests.asgi import Api, problem
from tests.serving import orders
from tests.serving.orders import CHECKOUT, ORDERED_AT, ago
from tests.serving.world import World, service

STORED = {
    "A": {"shop_id": 7, "product_code": "P-1", "items": 2, "ordered_at": ORDERED_AT},
    "B": {"shop_id": 8, "product_code": "P-2", "items": 5, "ordered_at": ORDERED_AT},
}


def ask(api: Api, *entities: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the predictions, each with the ``features`` that the model was given."""
    answer = api.predict(*entities)
    assert answer.status_code == httpx.codes.OK, answer.text
    out = []
    for prediction in answer.json()["predictions"]:
        traced = api.get(f"/predictions/{prediction['prediction_id']}").json()
        out.append({**prediction, "features": traced["features"], "entity": traced["entity"]})
    return out


def sdk(repo: FeatureRepo, row: dict[str, Any]) -> dict[str, Any]:
    """Return the features of one row as any Feast client would get them."""
    store: FeatureStore = open_store(repo)
    columns = store.get_online_features(store.get_feature_service("refund_risk"), [row]).to_dict()
    return {name: values[0] for name, values in columns.items()}


def changed(repo: FeatureRepo, folder: Path, change: Callable[[str], str]) -> FeatureRepo:
    """Return a copy of the repo with other definitions, over the same rows online."""
    copy = World(repo.layout.repo, None).copy_to(folder, change=change)  # type: ignore[arg-type]
    return copy.repo


@pytest.fixture
def own_repo(world: World, tmp_path: Path) -> FeatureRepo:
    """Give an orders repo under a project name of its own, whose rows a test may change."""
    project = f"orders_{tmp_path.name[-20:]}"
    return orders.build(tmp_path / "orders", f"127.0.0.1:{world.server.port}", project)


def serve(repo: FeatureRepo) -> Api:
    return service(repo)


@pytest.mark.parametrize("order", ["A", "B"])
@pytest.mark.parametrize(
    "checkout",
    [
        CHECKOUT,
        {"express": True, "discount": 0.25, "channel": "phone"},
        CHECKOUT | {"items": 9, "ordered_at": "2024-06-03T09:00:00+02:00"},
        CHECKOUT | {"shop_id": 7, "product_code": "P-1"},
    ],
)
def test_the_vector_is_what_the_sdk_gives(
    orders_api: Api, orders_repo: FeatureRepo, order: str, checkout: dict[str, Any]
) -> None:
    got = ask(orders_api, {"order_id": order, **checkout})[0]
    row = {"order_id": order, **STORED[order], **checkout}
    if isinstance(row["ordered_at"], str):
        row["ordered_at"] = datetime.fromisoformat(row["ordered_at"])
    expected = sdk(orders_repo, row)
    assert set(got["features"]) == {f.name for f in orders.INPUTS}
    assert got["features"] == {name: pytest.approx(expected[name]) for name in got["features"]}


def test_a_batch_is_the_same_rows_one_by_one(orders_api: Api) -> None:
    rows = [
        {"order_id": "A", "express": True, "discount": 0, "channel": "web"},
        {"order_id": "B", "express": False, "discount": 0.5, "channel": "web"},
        {"order_id": "A", "express": False, "discount": 0.1, "channel": "phone", "items": 4},
        {"order_id": "B", **CHECKOUT, "shop_id": 7},
    ]
    together = ask(orders_api, *rows)
    alone = [ask(orders_api, row)[0] for row in rows]
    for one, other in zip(together, alone, strict=True):
        assert one["features"] == other["features"]
        assert one["probability"] == other["probability"]


def test_keys_that_the_id_does_not_tell_leave_their_features_missing(orders_api: Api) -> None:
    for order in ("no-shop", "new-shop"):
        got = ask(orders_api, {"order_id": order, **CHECKOUT})[0]
        features = got["features"]
        assert {features[name] for name in ("rating", "franchise", "staff", "on_shelf", "waiting")} == {None}
        assert features["share_of_shelf"] is None
        assert features["gift"] is True
        assert features["recalled"] is False
        assert got["features_as_of"]["shops"] is None


@pytest.mark.parametrize("left_out", ["express", "discount", "channel"])
def test_an_input_that_nothing_carries_must_be_sent(orders_api: Api, left_out: str) -> None:
    entity = {"order_id": "A", **{k: v for k, v in CHECKOUT.items() if k != left_out}}
    members = problem(orders_api.predict({"order_id": "B", **CHECKOUT}, entity), 422)
    assert [e["entity"] for e in members["errors"]] == [1]
    assert left_out in members["errors"][0]["detail"]


def test_an_unknown_id_is_unknown_whatever_else_is_sent(orders_api: Api) -> None:
    everything = {**STORED["A"], **CHECKOUT, "ordered_at": ORDERED_AT.isoformat()}
    members = problem(orders_api.predict({"order_id": "A", **everything}, {"order_id": "Z", **everything}), 404)
    assert [e["entity"] for e in members["errors"]] == [1]


def test_times_come_back_as_utc(orders_api: Api) -> None:
    got = ask(orders_api, {"order_id": "A", **CHECKOUT, "ordered_at": "2024-06-03T09:00:00+02:00"})[0]
    assert got["ordered_at"] == "2024-06-03T07:00:00Z"
    assert got["entity"]["ordered_at"] == "2024-06-03T07:00:00Z"


def test_fresh_values_are_not_called_stale(orders_api: Api) -> None:
    got = ask(orders_api, {"order_id": "A", **CHECKOUT})[0]
    assert got["stale"] == []
    assert datetime.fromisoformat(got["features_as_of"]["queue"]) == ago(minutes=10)


def test_each_view_keeps_its_own_promise(own_repo: FeatureRepo) -> None:
    orders.put(
        own_repo,
        baskets=[({"order_id": "old", **STORED["A"], "shop_id": 1, "product_code": "P-9", "gift": True}, ago(hours=1))],
        stock=[({"shop_id": 1, "product_code": "P-9", "on_shelf": 4}, ago(hours=7))],  # promises 6 h, or is missing
        queue=[({"shop_id": 1, "waiting": 5}, ago(hours=2))],  # promises 1 h, or is flagged
    )
    with serve(own_repo) as api:
        got = ask(api, {"order_id": "old", **CHECKOUT})[0]
    assert got["features"]["on_shelf"] is None
    assert got["features"]["share_of_shelf"] is None
    assert got["features"]["waiting"] == 5
    assert set(got["stale"]) == {"stock", "queue"}
    assert datetime.fromisoformat(got["features_as_of"]["stock"]) == ago(hours=7)


def test_a_view_that_refuses_names_entity_view_age_and_promise(own_repo: FeatureRepo) -> None:
    basket = {**STORED["A"], "product_code": "P-9", "gift": True, "order_id": "old"}
    orders.put(
        own_repo,
        baskets=[(basket, ago(hours=1))],
        recalls=[({"product_code": "P-9", "recalled": False}, ago(days=3))],  # promises 2 days, or refuses
    )
    with serve(own_repo) as api:
        members = problem(api.predict({"order_id": "A", **CHECKOUT}, {"order_id": "old", **CHECKOUT}), 409)
    assert members["entity"] == 1
    assert members["view"] == "recalls"
    assert members["age_seconds"] == pytest.approx(3 * 86_400, abs=3600)
    assert "2 days" in members["detail"]


def test_a_lookup_that_refuses_names_the_entity_of_the_request(own_repo: FeatureRepo, tmp_path: Path) -> None:
    """Only some entities need a lookup; the position is still the one in the request."""
    orders.put(own_repo, baskets=[({"order_id": "old", **STORED["A"], "gift": True}, ago(days=9))])
    strict = changed(
        own_repo,
        tmp_path / "strict",
        lambda text: text.replace('"gift": Bool,\n    },', '"gift": Bool,\n    }, freshness="1d", stale="refuse",'),
    )
    whole = {**STORED["A"], **CHECKOUT, "ordered_at": ORDERED_AT.isoformat()}
    with serve(strict) as api:
        members = problem(api.predict({"order_id": "A", **whole}, {"order_id": "old", **CHECKOUT}), 409)
    assert members["entity"] == 1
    assert "Entity 1" in members["detail"]


def test_what_is_stamped_later_than_now_does_not_exist_yet(own_repo: FeatureRepo, monkeypatch: Any) -> None:
    monkeypatch.setattr(orders, "NOW", orders.NOW + timedelta(days=2))
    orders.put(own_repo, queue=[({"shop_id": 7, "waiting": 99}, orders.NOW - timedelta(hours=1))])
    with serve(own_repo) as api:
        got = ask(api, {"order_id": "A", **CHECKOUT})[0]
    assert got["features"]["waiting"] is None
    assert got["features_as_of"]["queue"] is None


def test_a_source_of_an_on_demand_view_need_not_be_in_the_service(orders_repo: FeatureRepo, tmp_path: Path) -> None:
    """Feast reads what an on-demand view computes from, also when the service does not give it to the model."""
    hidden = changed(
        orders_repo, tmp_path / "hidden", lambda text: text.replace("        stock,\n        queue,", "        queue,")
    )
    orders.fit(hidden, [f for f in orders.INPUTS if f.name != "on_shelf"])
    with serve(hidden) as api:
        got = ask(api, {"order_id": "A", **CHECKOUT})[0]
    expected = sdk(hidden, {"order_id": "A", **STORED["A"], **CHECKOUT})
    assert expected["share_of_shelf"] == 0.25
    assert got["features"]["share_of_shelf"] == 0.25
    assert "on_shelf" not in got["features"]


@pytest.mark.parametrize(
    ("right", "wrong", "view"),
    [
        ('not inputs["discount"]', '1 / inputs["discount"] > 1', "price"),
        (
            'not inputs["discount"]',
            '2**70 if not inputs["discount"] else True',
            "price",
        ),  # no number that a feature can be
        (
            "f\"{channel}-{'express' if express else 'slow'}\"",
            '"\\ud800"[: channel == "web"]',
            "shelf",
        ),  # half a character
    ],
)
def test_what_was_sent_and_a_view_cannot_use_is_the_clients_to_mend(
    orders_repo: FeatureRepo, tmp_path: Path, right: str, wrong: str, view: str
) -> None:
    strict = changed(orders_repo, tmp_path / "strict", lambda text: text.replace(right, wrong))
    good = {"order_id": "A", **CHECKOUT, "discount": 0.5, "channel": "phone"}
    bad = {"order_id": "A", **CHECKOUT}
    with serve(strict) as api:
        members = problem(api.predict(good, bad, good, bad), 422)
        asked = [("POST", "/predict", {"json": {"entities": [one]}}) for one in (good, bad, good)]
        assert [answer.status_code for answer in api.gather(asked)] == [200, 422, 200]
    assert [e["entity"] for e in members["errors"]] == [1, 3]
    assert f"{view} cannot use" in members["errors"][0]["detail"]
    assert "channel" in members["errors"][0]["detail"]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_a_moment_that_no_calendar_of_a_view_has(orders_repo: FeatureRepo, tmp_path: Path, moment: str) -> None:
    """As in the flights repo, which goes by the time in New York, and by the days of the years around."""
    early = changed(
        orders_repo,
        tmp_path / "early",
        lambda text: text.replace(
            "    moment = pd",
            "    [m + pd.Timedelta(days=d) for m in inputs['ordered_at'] for d in (-1, 1)]\n    moment = pd",
        ),
    )
    with serve(early) as api:
        members = problem(api.predict({"order_id": "A", **CHECKOUT, "ordered_at": moment}), 422)
        ask(api, {"order_id": "A", **CHECKOUT, "ordered_at": ORDERED_AT.isoformat()})
    assert "calendar cannot use ordered_at" in members["errors"][0]["detail"]


def test_a_view_whose_code_is_wrong_is_our_error_whatever_was_sent(orders_repo: FeatureRepo, tmp_path: Path) -> None:
    broken = changed(
        orders_repo,
        tmp_path / "broken",
        lambda text: text.replace(
            'not inputs["discount"]', 'not inputs["discount"] or inputs["discount"] >= 1 or nowhere'
        ),
    )
    with serve(broken) as api:
        members = problem(api.predict({"order_id": "A", **CHECKOUT, "discount": 0.5}), 500)
    assert "The on-demand feature view price failed: NameError" in members["detail"]


def test_a_view_that_fails_on_what_is_stored_is_our_error_in_one_line(world: World, tmp_path: Path) -> None:
    broken = world.copy_to(
        tmp_path / "loans",
        change=lambda text: text.replace(
            'inputs["amount"] / 1000.0', 'inputs["amount"].map({0.0: 0.0, 1.0: 1.0}.__getitem__)'
        ),
    )
    with service(broken.repo) as api:
        members = problem(api.predict({"loan_id": 3000}), 500)
        problem(api.predict({"loan_id": 3000}, {"loan_id": 3001, "amount": 5}), 422)
    assert "The on-demand feature view amount_scaled failed: KeyError" in members["detail"]


def test_what_an_on_demand_view_does_to_its_inputs_is_not_what_was_sent(
    orders_repo: FeatureRepo, tmp_path: Path
) -> None:
    spoiling = changed(
        orders_repo,
        tmp_path / "spoiling",
        lambda text: text.replace(
            "    pairs = list(", '    inputs["channel"][:] = ["no channel"] * len(inputs["channel"])\n    pairs = list('
        ),
    )
    with serve(spoiling) as api:
        got = ask(api, {"order_id": "A", **CHECKOUT})[0]
    assert got["features"]["shop_window"].startswith("no channel-")
    assert got["entity"]["channel"] == got["channel"] == CHECKOUT["channel"]


def test_an_entity_that_declares_no_type_takes_that_of_its_view(world: World, tmp_path: Path) -> None:
    """As in Feast's own template: the type is in the view's schema, the entity says nothing."""
    plain = world.copy_to(
        tmp_path / "loans",
        change=lambda text: (
            text.replace(
                'Entity(name="loan", join_keys=["loan_id"], value_type=ValueType.INT64)',
                'Entity(name="loan", join_keys=["loan_id"])',
            )
            .replace(
                'Field(name="customer_id", dtype=Int64),',
                'Field(name="loan_id", dtype=Int64), Field(name="customer_id", dtype=Int64),',
            )
            .replace(
                'features=[loan_terms[["region", "hour"]], customer_payments, amount_scaled]',
                "features=[customer_payments, amount_scaled]",
            )
        ),
    )
    model = plain.model
    model.features = [f for f in model.features if f.name not in ("region", "hour")]
    model.estimator = _Half()
    model.save(plain.folder / "data" / "models" / "1")
    with service(plain.repo) as api:
        got = ask(api, {"loan_id": 3000})[0]
        problem(api.predict({"loan_id": 999_999}), 404)
    assert got["features"]["payments_30d"] is not None


class _Half:
    """An estimator that does not care."""

    def predict_proba(self, matrix: Any) -> Any:
        import numpy as np

        return np.full((len(matrix), 2), 0.5)
