"""The training service over HTTP, on real MLflow, real jobs and a real database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from core.settings import Settings
from tests.asgi import Api, problem
from tests.core.keys import Keyring, keyring
from tests.training.loans import Loans
from training.service import build_app


@pytest.fixture
def keys(rivals: Loans) -> Keyring:
    return keyring(rivals.repo)


@pytest.fixture
def api(rivals: Loans, keys: Keyring) -> Iterator[Api]:
    with Api(build_app(rivals.repo, Settings())) as api:
        api.show(keys["train"])
        yield api


def person(keys: Keyring, name: str) -> dict[str, str]:
    key = keys.accounts.keys.create(f"key of {name}", ["train"], owner=name)[0]
    return {"authorization": f"Bearer {key}"}


def wait(api: Api, job_id: str, seconds: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        job = api.get(f"/training/status/{job_id}").json()
        if job["status"] in ("done", "failed", "cancelled"):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.2)


def test_it_is_ready_and_names_what_it_depends_on(api):
    found = api.get("/health").json()
    assert found["status"] == "ready"
    assert set(found["dependencies"]) == {"database", "jobs", "mlflow", "dataset"}
    assert found["dependencies"]["mlflow"]["roles"] == {"champion": "1", "challenger": "3"}
    assert found["dependencies"]["dataset"]["rows"] > 0


def test_the_versions_come_with_roles_metrics_and_lineage(api):
    found = api.get("/training/models").json()
    assert found["roles"] == {"champion": "1", "challenger": "3"}
    assert [v["version"] for v in found["versions"]] == ["3", "2", "1"]
    assert all(v["metrics"]["auc"] > 0.5 and v["tags"]["data_version"] for v in found["versions"])
    one = api.get("/v1/training/models/1").json()
    assert one["roles"] == ["champion"]
    assert one["params"]["candidate"] in ("logistic", "hist_gradient_boosting")
    assert one["promotions"][0]["requested_by"] == "gate"
    assert api.get("/training/models/1/performance").json()["weeks"]


@pytest.mark.parametrize(
    ("version", "status"),
    [("99", 404), ("..%2f..%2fetc", 404), ("1%00", 422), ("latest", 422), ("٣", 422), ("0", 422), ("1'--", 422)],
)
def test_a_version_that_is_none_is_refused(api, version, status):
    problem(api.get(f"/training/models/{version}"), status)
    problem(api.post(f"/training/models/{version}/promote", json={"reason": "x"}), status)


def test_a_comparison_is_json_or_a_page(api):
    found = api.get("/training/compare", params={"a": "1", "b": "2"}).json()
    assert found["gains"]["auc"]["low"] <= found["gains"]["auc"]["gain"]
    answer = api.get("/training/compare", params={"a": "1", "b": "2", "format": "html"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "attachment" in answer.headers["content-disposition"]
    assert "<script" not in answer.text
    problem(api.get("/training/compare", params={"a": "1", "b": "../2"}), 422)


def test_without_a_training_set_a_comparison_is_a_conflict(api, rivals):
    (rivals.repo.layout.dataset / "train.parquet").unlink()
    problem(api.get("/training/compare", params={"a": "1", "b": "2"}), 409)
    problem(api.get("/training/models/1/performance"), 409)


def test_promotion_and_rollback_leave_their_record(api, rivals):
    row = api.post("/training/models/3/promote", json={"reason": "better on Mondays"}).json()
    assert (row["status"], row["version"], row["requested_by"]) == ("active", "3", "tests")
    assert rivals.served().version == "3"
    assert api.post("/training/rollback", json={"reason": "it was not"}).json()["version"] == "1"
    assert rivals.served().version == "1"
    rows = api.get("/training/promotions").json()["promotions"]
    assert [(r["action"], r["version"], r["reasons"]) for r in rows[:2]] == [
        ("rollback", "1", ["it was not"]),
        ("promote", "3", ["better on Mondays"]),
    ]
    assert (
        api.get("/training/promotions", params={"limit": 1, "before": rows[0]["id"]}).json()["promotions"] == rows[1:2]
    )


def test_who_decided_against_another_champion_is_told(api, rivals):
    for path in ("/training/models/3/promote", "/training/rollback"):
        told = problem(api.post(path, json={"reason": "better", "expected": "2"}), 409)
        assert "version 1 by now, not 2" in told["detail"]
        problem(api.post(path, json={"reason": "better", "expected": "latest"}), 422)
    assert api.post("/training/models/3/promote", json={"reason": "better", "expected": "1"}).status_code == 200


def test_without_a_previous_champion_rolling_back_is_a_conflict(api):
    assert "previous" in problem(api.post("/training/rollback", json={"reason": "x"}), 409)["detail"]


def test_where_two_must_agree_two_keys_of_one_person_are_one_person(rivals, keys):
    ann, ann_too, bob = person(keys, "ann"), person(keys, "ann"), person(keys, "bob")
    with Api(build_app(rivals.repo, Settings(promotion_approvals=2))) as api:
        asked = api.post("/training/models/3/promote", json={"reason": "good"}, headers=ann)
        assert (asked.status_code, asked.json()["status"]) == (202, "pending")
        problem(api.post("/training/models/3/approve", headers=ann), 403)
        problem(api.post("/training/models/3/approve", headers=ann_too), 403)
        assert rivals.served().version == "1"
        done = api.post("/training/models/3/approve", headers=bob).json()
        assert (done["requested_by"], done["approved_by"], done["status"]) == ("ann", "bob", "active")
        assert rivals.served().version == "3"


def test_the_form_has_what_it_needs(api):
    found = api.get("/training/options").json()["candidates"]
    assert set(found) == {"logistic", "hist_gradient_boosting", "catboost"}
    assert found["catboost"]["parameters"]["depth"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 10,
        "default": 6,
        "description": "Depth of a tree",
    }


@pytest.mark.parametrize(
    "body",
    [
        {"candidates": ["magic"]},
        {"overrides": {"catboost": {"depth": 99}}},
        {"overrides": {"catboost": {"train_dir": "/tmp/x"}}},
        {"overrides": {"catboost": {"depth": 4}}},  # loans do not train it
        {"since": "2024-02-01T00:00:00Z", "until": "2024-01-01T00:00:00Z"},
        {"since": "yesterday"},
        {"seed": 1},
        {"idempotency_key": "with space"},
        [],
    ],
)
def test_what_cannot_be_trained_is_refused_before_there_is_a_job(api, body):
    problem(api.post("/training/train", json=body), 422)
    assert api.get("/training/jobs").json()["jobs"] == []


@pytest.mark.slow
def test_a_training_job_makes_one_version_and_says_what_became_of_it(api, rivals):
    body = {
        "candidates": ["hist_gradient_boosting"],
        "overrides": {"hist_gradient_boosting": {"max_iter": 5, "min_samples_leaf": 20}},
        "promote": False,
    }
    first = api.post("/training/train", json=body, headers={"idempotency-key": "monday"})
    assert first.status_code == 202
    job_id = first.json()["job_id"]
    assert first.headers["location"] == f"/training/jobs/{job_id}"
    again = api.post("/training/train", json={**body, "idempotency_key": "monday"})
    assert again.json()["job_id"] == job_id
    problem(api.post("/training/train", json={}, headers={"idempotency-key": "monday"}), 409)
    job = wait(api, job_id)
    assert job["status"] == "done", job
    result = job["result"]
    assert (result["version"], result["candidate"], result["promoted"]) == ("4", "hist_gradient_boosting", False)
    assert result["metrics"]["auc"] > 0.5
    assert any("champion" in reason for reason in result["reasons"])
    assert [s["name"] for s in job["steps"]] == ["dataset", "train", "result", "notify"]
    assert any("Version 4" in line for line in api.get(f"/training/jobs/{job_id}/log").json()["lines"])
    assert api.get("/training/models/4").json()["lineage"]["override.hist_gradient_boosting.max_iter"] == "5"
    assert rivals.served().version == "1"
