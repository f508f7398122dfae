from __future__ import annotations

import pytest

from core.settings import get_settings
from tests.ingestion.loans import Loans


@pytest.fixture
def loans(tmp_path) -> Loans:
    get_settings()  # feature_store.yaml takes the online store's address from the environment it sets
    return Loans.copy_to(tmp_path / "loans")
