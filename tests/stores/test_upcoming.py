"""What is due is known ahead: exactly the rows that the spine will have later, and nothing of the future is needed."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path

import pytest

from core.errors import ConfigError
from ingestion.fetch import fetch_window
from ingestion.validate import validate_all
from stores.registry import apply
from stores.upcoming import Upcoming
from tests.ingestion.loans import Loans, day, window
from tests.repos.loans_world import LOANS
from training.dataset import build_spine

KNOWN, AHEAD = 20, 5  # days


@pytest.fixture
def loans(tmp_path: Path) -> Loans:
    """Give the loans that were taken in the first days, and their definitions."""
    loans = Loans.copy_to(tmp_path / "loans")
    take_in(loans, 0, KNOWN)
    apply(loans.repo)
    return loans


def take_in(loans: Loans, since: float, until: float) -> None:
    fetch_window(loans.repo, window(since, until))
    validate_all(loans.repo)


def test_what_is_due_is_what_comes_to_pass(loans):
    due = Upcoming(loans.repo).between(day(KNOWN), day(KNOWN + AHEAD))
    take_in(loans, KNOWN, KNOWN + AHEAD + 2)  # by then the labels are known
    spine = build_spine(loans.repo).to_pandas()
    spine = spine[(spine["event_timestamp"] >= day(KNOWN)) & (spine["event_timestamp"] < day(KNOWN + AHEAD))]
    expected = sorted((int(loan), when) for loan, when in zip(spine["loan_id"], spine["event_timestamp"], strict=True))
    assert len(expected) > 200
    assert sorted((d.entity["loan_id"], d.moment) for d in due) == expected


def test_windows_share_nothing_and_leave_nothing_out(loans):
    upcoming = Upcoming(loans.repo)
    cuts = [day(KNOWN) + timedelta(hours=7 * i) for i in range(8)]
    parts = [upcoming.between(a, b) for a, b in itertools.pairwise(cuts)]
    assert list(itertools.chain(*parts)) == upcoming.between(cuts[0], cuts[-1])


def test_a_client_s_inputs_come_along_and_times_are_text(loans):
    loans.sql("upcoming", "SELECT loan_id, amount, known_at AS asked, known_at AS event_timestamp FROM loans")
    due = Upcoming(loans.repo).between(day(3), day(4))
    assert len(due) == 20
    assert set(due[0].entity) == {"loan_id", "amount", "asked"}
    assert due[0].entity["asked"] == due[0].moment.isoformat().replace("+00:00", "Z")


def test_a_repo_that_cannot_tell_says_so(loans):
    (loans.folder / "sql" / "upcoming.sql").unlink()
    with pytest.raises(ConfigError, match="upcoming.sql") as refused:
        Upcoming(loans.repo)
    assert "docs/feature-repo.md" in refused.value.hint


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT loan_id FROM loans", "no column event_timestamp"),
        ("SELECT known_at AS event_timestamp FROM loans", "no column loan_id"),
        ("SELECT nothing FROM nowhere", "upcoming.sql: "),
        ("-- lookback: loans a while\nSELECT loan_id, known_at AS event_timestamp FROM loans", "'a while'"),
    ],
)
def test_a_wrong_query_is_named(loans, query, words):
    loans.sql("upcoming", query)
    with pytest.raises(ConfigError, match=words):
        Upcoming(loans.repo).between(day(1), day(2))


def test_it_is_no_feature_view(loans):
    assert (LOANS / "sql" / "upcoming.sql").is_file()
    assert set(loans.repo.queries) == {"customer_payments", "loan_terms", "spine"}
