"""Every good answer of every service has a form and an example in the API reference, so that no route is forgotten."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

import ingestion.service
import monitoring.service
import serving.service
import training.service
from core.repo import FeatureRepo
from core.settings import Settings
from tests.cli.conftest import ROOT
from tests.contract import JSON, Contract

BUILD: dict[str, Callable[..., Any]] = {
    "prediction": serving.service.build_app,
    "data": ingestion.service.build_app,
    "training": training.service.build_app,
    "monitoring": monitoring.service.build_app,
}
FORM = {"type": "object", "properties": {"rows": {"type": "integer"}}, "required": ["rows"]}


def lacking(contract: Contract) -> Iterator[str]:
    """Give what the document does not say, or says wrongly, of good answers."""
    for method, path, status, told in contract.good():
        where = f"{method} {path} {status}"
        if told["description"] in ("", "Successful Response"):  # the framework's words
            yield f"{where}: no words"
        for kind, content in (told.get("content") or {"": {}}).items():
            form = content.get("schema", {})
            members = contract.document["components"]["schemas"].get(form.get("$ref", "").rpartition("/")[2], form)
            if not form or (kind == JSON and "properties" not in members):
                yield f"{where} {kind}: no form"
            elif kind == JSON and "example" not in content:
                yield f"{where} {kind}: no example"
            elif kind == JSON:
                yield from (f"{where} {kind}, the example: {said}" for said in contract.wrong(form, content["example"]))


@pytest.fixture(scope="module")
def contract_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Contract]:
    folder: Path = tmp_path_factory.mktemp("reference") / "loans"
    shutil.copytree(ROOT / "tests/repos/loans", folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    repo = FeatureRepo.load(folder)
    return cache(lambda service: Contract(BUILD[service](repo, Settings()).app.openapi()))


@pytest.mark.parametrize("service", BUILD)
def test_good_answers_have_a_form_and_an_example_of_it(contract_of, service: str):
    contract = contract_of(service)
    assert len(list(contract.good())) > 15
    assert list(lacking(contract)) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "no form"),
        ({"schema": {}}, "no form"),
        ({"schema": {"type": "object"}, "example": {}}, "no form"),
        ({"schema": FORM}, "no example"),
        ({"schema": FORM, "example": {}}, '"rows" is a required property'),
        ({"schema": FORM, "example": {"rows": "3"}}, "is not of type"),
        ({"schema": FORM, "example": {"rows": 3, "more": 1}}, "'more' was unexpected"),
    ],
)
def test_what_is_forgotten_is_found(content: dict[str, Any], said: str):
    answers = {"200": {"description": "Rows.", "content": {JSON: content}}}
    document = {"paths": {"/rows": {"get": {"responses": answers}}}, "components": {"schemas": {}}}
    assert said in " ".join(lacking(Contract(document)))


def test_a_service_that_answers_something_else_fails_its_test(contract_of):
    contract = contract_of("prediction")
    contract.check(answer("/v1/health/live", {"service": "any", "live": True}))
    contract.check(answer("/no/path", {"any": "thing"}))
    for wrong in ({"service": "any"}, {"service": "any", "live": "yes"}, {"service": "any", "live": True, "new": 1}):
        with pytest.raises(AssertionError, match="/health/live"):
            contract.check(answer("/v1/health/live", wrong))


def answer(path: str, content: Any) -> httpx.Response:
    return httpx.Response(200, json=content, request=httpx.Request("GET", f"http://localhost{path}"))
