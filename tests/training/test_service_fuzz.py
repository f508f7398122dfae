"""Whatever a client with every right sends, the training service answers as its OpenAPI document says."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.settings import Settings
from tests.asgi import Api
from tests.core.keys import keyring
from tests.training.loans import Loans
from training.service import build_app


@pytest.fixture
def api(rivals: Loans) -> Iterator[Api]:
    key = keyring(rivals.repo)["admin"]
    with Api(build_app(rivals.repo, Settings(rate_limit_key="1000000/second"))) as api:
        api.show(key)
        yield api


@pytest.mark.slow
@settings(max_examples=250, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_it_answers_as_its_document_says(api, data):
    document = api.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict({**document, "servers": [{"url": "/"}]})
    operations = [o.ok() for o in schema.get_all_operations()]
    operation = data.draw(st.sampled_from(operations), label="operation")
    case = data.draw(operation.as_strategy(), label="case")
    request = case.as_transport_kwargs(base_url="http://localhost")
    answer: httpx.Response = api.request(
        request["method"],
        request["url"].removeprefix("http://localhost"),
        params=request.get("params"),
        json=request.get("json"),
        content=request.get("data"),
        headers={
            k: v for k, v in (request.get("headers") or {}).items() if k.lower() not in ("authorization", "x-api-key")
        },
    )
    assert answer.status_code < 500, answer.text
    assert str(answer.status_code) in operation.definition.raw["responses"] or answer.status_code in (
        400,
        404,
        405,
        413,
    )
