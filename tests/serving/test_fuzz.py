"""Whatever bytes arrive, the answer is a prediction or problem details, never a failure of ours."""

from __future__ import annotations

import json
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.asgi import Api, problem

_FIELDS = ["loan_id", "customer_id", "amount", "region", "entities", "", "__proto__"]
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.sampled_from([3000, 3001, 5, 2**63 - 1, -(2**63), 2**63, 0])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["2024-02-01T00:00:00Z", "NaN", "\x00", "\ud7ff", "é"])
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
_entities = st.dictionaries(st.sampled_from(_FIELDS) | st.text(max_size=6), _values, max_size=4)
_bodies = (
    st.fixed_dictionaries({"entities": st.lists(_entities | _values, max_size=4)})
    | st.dictionaries(st.sampled_from(_FIELDS), _values, max_size=3)
    | _values
)
_patient = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(answer: httpx.Response) -> None:
    if answer.status_code != httpx.codes.OK:
        assert 400 <= answer.status_code < 500, answer.text
        problem(answer, answer.status_code)


@_patient
@given(body=_bodies)
def test_any_json(api: Api, body: Any) -> None:
    check(api.post("/predict", content=json.dumps(body).encode()))


@_patient
@given(body=st.binary(max_size=200))
def test_any_bytes(api: Api, body: bytes) -> None:
    check(api.post("/predict", content=body))


@_patient
@given(cut=st.integers(0, 60), junk=st.binary(max_size=4))
def test_a_good_body_that_is_cut_or_spoilt(api: Api, cut: int, junk: bytes) -> None:
    good = b'{"entities": [{"loan_id": 3000, "amount": 12.5, "customer_id": 7}]}'
    check(api.post("/predict", content=good[:cut] + junk + good[cut + len(junk) :]))


def test_deep_nesting(api: Api) -> None:
    check(api.post("/predict", content=b"[" * 100_000))
    check(api.post("/predict", content=b'{"entities":' * 2000 + b"1" + b"}" * 2000))


def test_the_service_still_predicts_after_all_that(api: Api) -> None:
    assert api.predict({"loan_id": 3000}).status_code == httpx.codes.OK
