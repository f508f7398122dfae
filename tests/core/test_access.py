"""Who gets in, how often, by which name, for how long, and what is left of it in the records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import ConfigError
from core.repo import FeatureRepo
from core.service import PUBLIC, requires
from tests.asgi import Api, problem
from tests.core.keys import Keyring
from tests.core.test_service import Life, make_service


def service(repo: FeatureRepo, **settings: Any) -> Api:
    return Api(make_service(Life(), repo, **settings))


@pytest.fixture
def api(repo: FeatureRepo, keys: Keyring) -> Iterator[Api]:
    with service(repo) as api:
        yield api


def shown(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/mine"), ("POST", "/change/x"), ("POST", "/direct"), ("GET", "/metrics")]
)
def test_without_a_good_key_nothing_is_done(api: Api, keys: Keyring, method: str, path: str):
    bad: list[dict[str, str]] = [
        {},
        shown(keys.revoked),
        shown("pk_nonsense"),
        {"authorization": "Basic YTpi"},
        {"x-api-key": "x"},
    ]
    for headers in bad:
        answer = api.request(method, path, headers=headers)
        problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("version", ["", "/v1"])
def test_a_scope_opens_its_routes_and_no_others(api: Api, keys: Keyring, version: str):
    opens = {
        ("GET", "/mine"): {"data", "read", "admin"},
        ("POST", "/change/x"): {"data", "admin"},
        ("POST", "/direct"): {"predict", "admin"},
        ("GET", "/metrics"): {"read", "admin"},
    }
    for (method, path), scopes in opens.items():
        for scope, key in keys.by_scope.items():
            answer = api.request(method, version + path, headers=shown(key))
            if scope in scopes:
                assert answer.status_code == 200, answer.text
            else:
                assert scope in problem(answer, 403)["detail"]


def test_a_key_may_come_as_x_api_key(api: Api, keys: Keyring):
    assert api.get("/mine", headers={"x-api-key": keys["read"]}).json() == {"name": "key:read"}


def test_a_route_that_does_not_say_who_may_call_it_cannot_be_made(repo: FeatureRepo):
    app = make_service(Life(), repo).app
    with pytest.raises(ConfigError, match="/open"):

        @app.get("/open")
        async def forgotten() -> None: ...

    for wrong in ((), ("everything",), (PUBLIC, "read")):
        with pytest.raises(ConfigError):
            requires(*wrong)


def test_what_is_changed_is_recorded_and_what_is_read_is_not(api: Api, keys: Keyring):
    api.post("/change/x", headers={**shown(keys["data"]), "x-request-id": "who-did-this"})
    api.post("/change/wrong", headers=shown(keys["data"]))
    api.post("/change/x", headers=shown(keys["read"]))
    api.get("/mine", headers=shown(keys["data"]))
    api.post("/direct", headers=shown(keys["predict"]))
    refused, done = [r for r in keys.accounts.audit_log() if r["action"].startswith("POST")]
    assert (done["actor"], done["action"], done["target"], done["outcome"]) == (
        "key:data",
        "POST /change/{what}",
        "/change/x",
        "done",
    )
    assert done["correlation_id"] == "who-did-this"
    assert done["address"] == "127.0.0.1"
    assert (refused["target"], refused["outcome"]) == ("/change/wrong", "refused (422)")


def test_a_request_by_a_name_that_is_not_ours_is_refused(repo: FeatureRepo, keys: Keyring):
    with service(repo) as api:
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1@evil.example", "", "localhost:80:80"):
            problem(api.get("/who", headers={"host": host}), 422)
        for host in ("localhost", "localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
            assert api.get("/who", headers={"host": host}).status_code == 200, host
        assert api.get("/health", headers={"host": "10.1.2.3:8000"}).status_code == 200, "a probe's name does not count"
    with service(repo, trusted_hosts=["*"]) as api:
        assert api.get("/who", headers={"host": "anything.example"}).status_code == 200


def test_limits_by_key_and_by_address(repo: FeatureRepo, keys: Keyring, valkey: str):
    with service(repo, redis=valkey, rate_limit_key="3/day", rate_limit_address="8/day") as api:
        for _ in range(3):
            assert api.get("/mine", headers=shown(keys["read"])).status_code == 200
        answer = api.get("/mine", headers=shown(keys["read"]))
        assert "3 requests per day from one key" in problem(answer, 429)["detail"]
        assert 1 <= int(answer.headers["retry-after"]) <= 86_400
        assert api.get("/mine", headers=shown(keys["data"])).status_code == 200
        for _ in range(3):  # guesses count too
            problem(api.get("/mine", headers=shown("pk_guess")), 401)
        assert "address" in problem(api.get("/mine", headers=shown(keys["data"])), 429)["detail"]
        assert api.get("/health").status_code == 200


def test_a_refused_request_is_told_when_to_come_again(repo: FeatureRepo, keys: Keyring, valkey: str):
    with service(repo, redis=valkey, rate_limit_key="1/minute") as api:
        tries = (api.get("/mine", headers=shown(keys["read"])) for _ in range(3))  # one more where a minute ends
        refused = next(answer for answer in tries if answer.status_code == 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_behind_a_proxy_the_client_s_own_address_counts(repo: FeatureRepo, keys: Keyring, valkey: str):
    def address(api: Api, forwarded: str) -> str:
        api.post("/change/x", headers={**shown(keys["data"]), "x-forwarded-for": forwarded})
        return str(keys.accounts.audit_log()[0]["address"])

    with service(repo, trusted_proxies=["127.0.0.1", "10.0.0.9"]) as api:
        assert address(api, "8.8.8.8, 9.9.9.9") == "9.9.9.9", "what the client claims itself does not count"
        assert address(api, "9.9.9.9, 10.0.0.9") == "9.9.9.9"
        assert address(api, "rubbish") == "127.0.0.1"
        assert "strict-transport-security" in api.get("/who", headers={"x-forwarded-proto": "https"}).headers
    with service(repo) as api:
        assert address(api, "9.9.9.9") == "127.0.0.1"
        assert "strict-transport-security" not in api.get("/who", headers={"x-forwarded-proto": "https"}).headers


def test_an_answer_that_takes_too_long_is_cut_off(repo: FeatureRepo):
    with service(repo, request_timeout=0.2) as api:
        assert "0.2 s" in problem(api.get("/slow"), 504)["detail"]
        assert api.get("/who").status_code == 200


def test_what_goes_on_after_a_timeout_is_not_recorded_as_failed(repo: FeatureRepo, keys: Keyring):
    life = Life()
    with Api(make_service(life, repo, request_timeout=0.3)) as api:
        problem(api.post("/work", headers=shown(keys["data"])), 504)
        record = next(r for r in keys.accounts.audit_log() if r["action"] == "POST /work")
        assert record["outcome"] == "no answer in time, may have been done"
        assert life.worked.wait(10)


def test_other_pages_may_call_only_where_they_are_allowed_to(repo: FeatureRepo, keys: Keyring):
    asks = {"origin": "https://ours.example", "access-control-request-method": "POST"}
    with service(repo) as api:
        assert "access-control-allow-origin" not in api.get("/who", headers=asks).headers
    with service(repo, cors_origins=["https://ours.example"]) as api:
        preflight = api.request("OPTIONS", "/direct", headers=asks)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://ours.example"
        assert "access-control-allow-origin" not in api.get("/who", headers={"origin": "https://evil.example"}).headers
        answer = api.post("/direct", headers={**shown(keys["predict"]), **asks}, content=b"ab")
        assert answer.json() == {"bytes": 2}
        assert answer.headers["access-control-allow-origin"] == "https://ours.example"


def test_a_page_that_is_allowed_may_send_and_read_what_there_is(repo: FeatureRepo, keys: Keyring, valkey: str):
    page = {"origin": "https://ours.example"}
    asks = {**page, "access-control-request-method": "POST", "access-control-request-headers": "idempotency-key"}
    limits = {"redis": valkey, "rate_limit_address": "3/day"}
    with service(repo, cors_origins=["https://ours.example"], request_timeout=0.2, **limits) as api:
        assert api.request("OPTIONS", "/change/x", headers=asks).status_code == 200
        late = api.get("/slow", headers=page)
        problem(late, 504)
        elsewhere = api.get("/who", headers={**page, "host": "evil.example"})
        problem(elsewhere, 422)
        api.get("/who")
        often = api.get("/who", headers=page)
        problem(often, 429)
        for refused in (late, elsewhere, often):
            assert refused.headers["access-control-allow-origin"] == "https://ours.example"
            assert {"location", "retry-after"} <= set(refused.headers["access-control-expose-headers"].split(", "))
        assert "access-control-allow-origin" not in api.get("/who", headers={"origin": "https://evil.example"}).headers
        assert "access-control-allow-origin" not in api.get("/who").headers


def test_metrics_count_by_route_and_not_by_what_a_client_makes_up(api: Api, keys: Keyring):
    for what in ("one", "two"):
        answer = api.post(f"/change/{what}", headers=shown(keys["data"]))
        assert answer.status_code == 200, answer.text
    api.get("/made-up-path")
    text = api.get("/metrics", headers=shown(keys["read"])).text
    labels = 'method="POST",route="/change/{what}",service="test",status="200"'
    line = next(x for x in text.splitlines() if x.startswith("punctual_requests_total{" + labels))
    assert float(line.rsplit(" ", 1)[1]) >= 2
    assert "made-up-path" not in text
    assert "punctual_request_seconds_bucket" in text


def test_the_api_reference_says_what_each_route_needs(api: Api):
    document = api.get("/openapi.json").json()
    assert document["paths"]["/mine"]["get"]["x-required-scopes"] == ["data", "read"]
    assert document["paths"]["/mine"]["get"]["security"] == [{"bearer": []}, {"api_key": []}]
    assert document["paths"]["/health"]["get"]["security"] == []
    assert {s["url"] for s in document["servers"]} == {"/v1", "/"}
    assert set(document["components"]["securitySchemes"]) == {"bearer", "api_key"}


def test_headers_cannot_be_broken_into(api: Api):
    answer = api.get("/who", headers={"x-request-id": b"abcdefgh\r\nset-cookie: a=b"})
    assert "set-cookie" not in answer.headers
    assert api.get("/who").headers["content-security-policy"].startswith("default-src 'none'")


def test_the_reference_is_a_page_that_loads_nothing_from_elsewhere(api: Api):
    answer = api.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "/change/{what}" in answer.text
    assert "&quot;live&quot;: true" in answer.text  # what /health/live answers, for example
    assert "<script" not in answer.text
    assert "http" not in answer.text.replace("https://", "http").split("<body>")[0]
    assert "script" not in answer.headers["content-security-policy"]
