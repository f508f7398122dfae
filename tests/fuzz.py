"""Requests made up from a service's own OpenAPI document, and whether the answers are among those that it names."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case

from tests.asgi import Api

# What the framework says of a request that reaches no route, or whose body is no JSON or too large.
_EVERYWHERE = (400, 404, 405, 413)
_OURS = ("authorization", "x-api-key")


def try_every_operation(api: Api, examples: int) -> None:
    """Send so many requests to each operation; fail at an answer that its document does not name, or a 5xx."""
    document = api.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict({**document, "servers": [{"url": "/"}]})
    for found in schema.get_all_operations():

        @settings(max_examples=examples, deadline=None, suppress_health_check=[*HealthCheck])
        @given(case=found.ok().as_strategy())
        def answers(case: Case) -> None:
            _send(api, case)

        answers()


def _send(api: Api, case: Case) -> None:
    request = case.as_transport_kwargs(base_url="http://localhost")
    answer = api.request(
        request["method"],
        request["url"].removeprefix("http://localhost"),
        params=request.get("params"),
        json=request.get("json"),
        content=request.get("data"),
        headers={name: value for name, value in (request.get("headers") or {}).items() if name.lower() not in _OURS},
    )
    told = f"{request['method']} {request['url']}: {answer.status_code} {answer.text}"
    assert answer.status_code < 500, told
    assert str(answer.status_code) in case.operation.definition.raw["responses"] or answer.status_code in _EVERYWHERE, (
        told
    )
