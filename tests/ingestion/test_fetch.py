from __future__ import annotations

import itertools

import pytest

from core.errors import ConfigError, DataError, SourceError
from core.files import sha256
from ingestion.fetch import fetch_window, next_window
from stores.raw import data_version
from tests.ingestion.loans import day, window


def test_a_window_is_written_with_what_is_in_it(loans):
    manifest = fetch_window(loans.repo, window(0, 10))
    folder = loans.repo.layout.raw / window(0, 10).id
    assert set(manifest["tables"]) == {"loans", "payments"}
    for table, facts in manifest["tables"].items():
        assert facts["rows"] == len(loans.raw(table, window(0, 10))) > 0
        assert facts["sha256"] == sha256(folder / f"{table}.parquet")


def test_only_rows_of_the_window(loans):
    fetch_window(loans.repo, window(0, 10))
    known = loans.raw("loans", window(0, 10))["known_at"]
    assert known.min() >= day(0)
    assert known.max() < day(10)


def test_the_same_window_again_changes_nothing(loans):
    first = fetch_window(loans.repo, window(0, 10))
    before, version = loans.files("raw"), data_version(loans.repo)
    assert fetch_window(loans.repo, window(0, 10)) == first
    assert loans.files("raw") == before
    assert data_version(loans.repo) == version


def test_fetched_from_scratch_gives_the_same_bytes(loans, tmp_path):
    fetch_window(loans.repo, window(0, 10))
    other = type(loans).copy_to(tmp_path / "other")
    fetch_window(other.repo, window(0, 10))
    assert other.files("raw") == loans.files("raw")
    assert data_version(other.repo) == data_version(loans.repo)


@pytest.mark.parametrize(("since", "until"), [(5, 15), (0, 5), (-5, 5), (2, 8)])
def test_an_overlap_is_refused(loans, since, until):
    fetch_window(loans.repo, window(0, 10))
    before = loans.files("raw")
    with pytest.raises(DataError, match="2024"):
        fetch_window(loans.repo, window(since, until))
    assert loans.files("raw") == before


def test_a_gap_is_refused(loans):
    fetch_window(loans.repo, window(0, 10))
    with pytest.raises(DataError, match="2024"):
        fetch_window(loans.repo, window(12, 15))


def test_the_next_window_follows_the_step_until_the_source_ends(loans):
    assert next_window(loans.repo) == window(0, 60)  # problem.yaml: to 1 March 2024
    fetch_window(loans.repo, window(0, 60))
    seen = []
    while (following := next_window(loans.repo)) is not None:
        seen.append(following)
        fetch_window(loans.repo, following)
    assert seen[0] == window(60, 67)
    assert seen[-1].until == day(121)  # the source ends on 1 May
    assert all(a.until == b.since for a, b in itertools.pairwise(seen))


def test_the_version_follows_the_data(loans):
    fetch_window(loans.repo, window(0, 10))
    before = data_version(loans.repo)
    fetch_window(loans.repo, window(10, 11))
    assert data_version(loans.repo) != before


def test_the_replay_clock_stands_at_the_end_of_what_was_fetched(loans):
    fetch_window(loans.repo, window(0, 10))
    assert loans.repo.clock.now() == day(10)


@pytest.mark.parametrize(
    "change",
    ["raise RuntimeError('the bank is closed')", "del tables['payments']", "tables['extra'] = tables['loans']"],
)
def test_a_source_that_fails_leaves_nothing(loans, change):
    loans.source_gives(change)
    with pytest.raises((SourceError, ConfigError, DataError)) as caught:
        fetch_window(loans.repo, window(0, 10))
    assert caught.value.hint
    assert loans.files() == {}
