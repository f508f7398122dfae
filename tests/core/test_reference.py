"""The reference beside a model: read back as written, and told apart from one that is missing or damaged."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from core.errors import ModelUnavailable, NoData
from core.files import write_json
from core.model import Feature
from core.reference import PROFILE, SAMPLE, SCORE, Reference, as_drift_column, is_whole

PROFILED = {"rows": 3, "features": [{"name": "age", "kind": "numeric"}, {"name": "town", "kind": "categorical"}]}
ROWS = pa.table({"age": [1.0, None, 2.5], "town": ["a", "b", None], SCORE: [0.1, 0.2, 0.3]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "7").mkdir()
    Reference(PROFILED, ROWS).save(tmp_path / "7")
    return tmp_path / "7"


def test_it_is_read_back_as_it_was_written(folder):
    found = Reference.load(folder)
    assert found.profile == PROFILED
    assert found.sample.equals(ROWS)
    assert found.features == [Feature("age", "numeric"), Feature("town", "categorical")]


def test_a_model_without_one_is_told_by_its_version(tmp_path):
    assert is_whole(tmp_path)
    with pytest.raises(NoData, match=f"version {tmp_path.name} has no reference.*Train"):
        Reference.load(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / SAMPLE).write_bytes((folder / SAMPLE).read_bytes()[:-1]),
        lambda folder: (folder / SAMPLE).unlink(),
        lambda folder: (folder / PROFILE).write_text("{"),
        lambda folder: write_json(folder / PROFILE, PROFILED),
    ],
    ids=["cut short", "no sample", "no JSON", "no hash"],
)
def test_a_damaged_one_is_not_used(folder, spoil):
    spoil(folder)
    assert not is_whole(folder)
    with pytest.raises(ModelUnavailable, match="is not the one"):
        Reference.load(folder)


def test_a_sample_without_its_profile_is_not_whole(folder):
    (folder / PROFILE).unlink()
    assert not is_whole(folder)


def test_values_become_what_the_prediction_log_gives():
    numbers = as_drift_column(Feature("x", "numeric"), [1, True, None, float("nan"), 2.5])
    assert numbers.to_pylist() == [1.0, 1.0, None, None, 2.5]
    words = as_drift_column(Feature("x", "categorical"), ["a", 3, True, None, float("nan")])
    assert words.to_pylist() == ["a", "3", "true", None, None]
