"""Without DVC, a pipeline that starts again does not train again on what a model was made from already."""

from __future__ import annotations

from cli.pipeline import trained_already
from core.files import read_json, write_json
from core.model import HEADER
from tests.training.loans import Loans


def of_other_rows(loans: Loans, version: str) -> None:
    """Let a version have been trained on something else."""
    path = loans.repo.layout.models / version / HEADER
    header = read_json(path)
    header["metadata"]["snapshot"] = "0" * 64
    write_json(path, header)


def test_what_a_version_was_trained_on_is_not_trained_on_again_promoted_or_not(rivals: Loans):
    assert trained_already(rivals.repo)
    for version in ("1", "2"):
        of_other_rows(rivals, version)
    assert trained_already(rivals.repo), "the challenger, which was not promoted, is of these rows"
    of_other_rows(rivals, "3")
    assert not trained_already(rivals.repo)


def test_without_a_champion_it_trains(rivals: Loans):
    (rivals.repo.layout.models / "champion.json").unlink()
    assert not trained_already(rivals.repo)
