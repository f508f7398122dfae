"""Rows that arrive late, or again with other values, are taken in; what was known before stays as it was known."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from core.settings import get_settings
from ingestion.transform import rebuild
from tests.ingestion.loans import VIEWS, Loans, assert_same, customer_payments_by_hand, day, ingest, window

pytestmark = pytest.mark.slow

EARLY, LATER = (window(0, 20), window(20, 30)), (window(30, 34), window(34, 40))
SURPRISE = LATER[0]

CHANGES = {
    # Two days of payments are missing at first.
    "late": """
held = tables['payments']['known_at'].between(ORIGIN + timedelta(days=25), ORIGIN + timedelta(days=27))
if since < ORIGIN + timedelta(days=30):
    tables['payments'] = tables['payments'][~held].reset_index(drop=True)
elif since == ORIGIN + timedelta(days=30):
    late = _before(ORIGIN + timedelta(days=25), ORIGIN + timedelta(days=27, microseconds=1))['payments']
    tables['payments'] = pd.concat([late, tables['payments']], ignore_index=True)
""",
    # Some payments come again: missed after all, or not.
    "corrected": """
if since == ORIGIN + timedelta(days=30):
    again = _before(ORIGIN + timedelta(days=14), ORIGIN + timedelta(days=30))['payments'].iloc[::7]
    again = again.assign(missed=1 - again['missed'])
    tables['payments'] = pd.concat([again, tables['payments']], ignore_index=True)
""",
}


def surprising(folder, change: str) -> Loans:
    get_settings()
    loans = Loans.copy_to(folder)
    with (loans.folder / "source.py").open("a") as file:
        file.write("\n\n_before = fetch\n")
    loans.source_gives(change)
    return loans


@dataclass
class Story:
    """What a repo held before the surprise and at the end."""

    loans: Loans
    rows_before: pd.DataFrame
    files_before: dict[str, bytes]
    rows: dict[str, pd.DataFrame]
    files: dict[str, bytes]


@pytest.fixture(scope="module", params=list(CHANGES))
def story(request, tmp_path_factory):
    loans = surprising(tmp_path_factory.mktemp("late") / "loans", CHANGES[request.param])
    ingest(loans, *EARLY)
    rows_before, files_before = loans.rows("customer_payments"), loans.files("features")
    ingest(loans, *LATER)
    return Story(loans, rows_before, files_before, {v: loans.rows(v) for v in VIEWS}, loans.files("features"))


def test_surprises_are_taken_in(story):
    expected = customer_payments_by_hand(story.loans.payments(*EARLY, *LATER))
    assert_same(expected, story.loans.newest("customer_payments"))


def test_what_was_known_before_stays_as_it_was_known(story):
    rows = story.rows["customer_payments"]
    known_then = rows[rows["created_timestamp"] < day(30)].reset_index(drop=True)
    assert_frame_equal(known_then, story.rows_before)
    assert {name: story.files[name] for name in story.files_before} == story.files_before


def test_changed_rows_are_created_when_the_surprise_arrived(story):
    rows = story.rows["customer_payments"]
    changed = rows[rows["created_timestamp"] != rows["event_timestamp"]]
    assert len(changed) > 0
    assert set(changed["created_timestamp"]) == {pd.Timestamp(SURPRISE.until)}
    assert (changed["event_timestamp"] < pd.Timestamp(SURPRISE.since)).all()


def test_only_what_changed_is_written_again(story):
    assert not story.rows["customer_payments"].drop(columns="created_timestamp").duplicated().any()
    assert (story.rows["loan_terms"]["created_timestamp"] == story.rows["loan_terms"]["event_timestamp"]).all()


def test_taken_in_all_at_once_the_history_is_the_same(story, tmp_path):
    other = Loans(tmp_path / "other")
    shutil.copytree(story.loans.folder, other.folder, ignore=shutil.ignore_patterns("data"))
    ingest(other, *EARLY, *LATER, each=False)
    assert other.files("features") == story.files


def test_a_rebuild_gives_the_same_bytes(story):
    rebuild(story.loans.repo)
    assert story.loans.files("features") == story.files


def test_a_correction_may_move_a_row_out_of_the_history_that_a_window_reads(tmp_path):
    loans = surprising(
        tmp_path / "loans",
        """
if since == ORIGIN + timedelta(days=30):
    again = _before(ORIGIN + timedelta(days=27), ORIGIN + timedelta(days=30))['payments'].iloc[::3]
    again = again.assign(known_at=(again['known_at'] - timedelta(days=12)).astype(UTC_TIME))
    tables['payments'] = pd.concat([again, tables['payments']], ignore_index=True)
""",
    )
    text = loans.repo.queries["customer_payments"].text
    loans.sql("customer_payments", text.replace("30 DAYS", "3 DAYS").replace("30 days", "3 days"))
    windows = (window(0, 30), window(30, 30.5), window(30.5, 31))
    ingest(loans, *windows)
    rows, paid = loans.newest("customer_payments"), loans.payments(*windows)
    newest = rows[rows["event_timestamp"] >= windows[-1].since]
    assert len(newest) > 0
    for row in newest.itertuples():
        age = row.event_timestamp - paid.loc[paid["customer_id"] == row.customer_id, "known_at"]
        assert row.payments_30d == age.between(pd.Timedelta(0), pd.Timedelta(days=3)).sum()
