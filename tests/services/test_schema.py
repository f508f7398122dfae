"""What the services do is what their API references say, tried with generated requests."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import schemathesis

from tests.services.conftest import Machine

pytestmark = pytest.mark.slow

# Generated requests must not start the whole flow again and again, or end the accounts they come from.
_LEFT_OUT = "|".join(
    (
        *("/flow/run", "/flow/rollback", "/training/train", "/training/rollback", "/data/import"),
        *("/auth/logout", "/keys/.*", "/users/.*", "/retry", "/cancel"),
    )
)


def _schema(machine: Machine, service: str) -> Any:
    headers = {"authorization": f"Bearer {machine.keys['admin']}"}
    schema = schemathesis.openapi.from_url(f"{machine.url(service)}/openapi.json")
    schema.config.update(base_url=machine.url(service), headers=headers)
    return schema.exclude(path_regex=_LEFT_OUT)


@pytest.fixture(scope="session")
def prediction_schema(machine: Machine) -> Any:
    return _schema(machine, "prediction")


@pytest.fixture(scope="session")
def data_schema(machine: Machine) -> Any:
    return _schema(machine, "data")


@pytest.fixture(scope="session")
def training_schema(machine: Machine) -> Any:
    return _schema(machine, "training")


prediction = schemathesis.pytest.from_fixture("prediction_schema")
data = schemathesis.pytest.from_fixture("data_schema")
training = schemathesis.pytest.from_fixture("training_schema")
few = hypothesis.settings(max_examples=15, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))


@prediction.parametrize()
@few
def test_prediction(case: schemathesis.Case):
    case.call_and_validate()


@data.parametrize()
@few
def test_data(case: schemathesis.Case):
    case.call_and_validate()


@training.parametrize()
@few
def test_training(case: schemathesis.Case):
    case.call_and_validate()
