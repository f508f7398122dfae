"""Feast is imported without its type checks, and definitions are checked all the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.repo import FeatureRepo
from stores.registry import apply

LOANS = Path(__file__).resolve().parents[1] / "repos" / "loans"
NOTHING_CHECKED = """
import sys
import {module}
import feast
from stores.typechecks import _waiting
assert feast.BigQuerySource in _waiting
assert "check_type" not in feast.Entity.__init__.__code__.co_names + feast.Entity.__init__.__code__.co_varnames
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", ["serving.service", "ingestion.service", "training.service", "monitoring.service"])
def test_no_entry_point_pays_for_the_checks(module):
    subprocess.run([sys.executable, "-c", NOTHING_CHECKED.format(module=module)], check=True)


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ('join_keys=["loan_id"]', 'join_keys="loan_id"', 'argument "join_keys"'),
        ("ttl=timedelta(days=45)", "ttl=45", 'argument "ttl"'),
        ('Field(name="amount", dtype=Float64)', 'Field(name="amount", dtype="float")', 'argument "dtype"'),
    ],
)
def test_a_wrong_type_in_a_definition_is_named(tmp_path, right, wrong, says):
    folder = tmp_path / "loans"
    shutil.copytree(LOANS, folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    definitions = (folder / "definitions.py").read_text()
    assert right in definitions
    (folder / "definitions.py").write_text(definitions.replace(right, wrong))
    with pytest.raises(ConfigError, match=says):
        apply(FeatureRepo.load(folder))
