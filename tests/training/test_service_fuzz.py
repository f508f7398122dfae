"""Whatever a client with every right sends, the training service answers as its OpenAPI document says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.settings import Settings
from tests.asgi import Api
from tests.conftest import DATABASES
from tests.core.keys import keyring
from tests.fuzz import try_every_operation
from tests.training.loans import Loans
from training.service import build_app

pytestmark = pytest.mark.slow


@pytest.fixture(params=DATABASES)
def api(rivals: Loans, request: pytest.FixtureRequest) -> Iterator[Api]:
    database = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    settings = Settings(rate_limit_key="1000000/second", database=database)
    key = keyring(rivals.repo, settings)["admin"]
    with Api(build_app(rivals.repo, settings)) as api:
        api.show(key)
        yield api


def test_it_answers_as_its_document_says(api: Api):
    try_every_operation(api, examples=12)
