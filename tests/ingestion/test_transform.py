from __future__ import annotations

import itertools

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from core.errors import NoData, PunctualError
from ingestion.transform import rebuild, transform
from tests.ingestion.loans import VIEWS, Loans, assert_same, customer_payments_by_hand, day, ingest, window


def test_rows_are_what_one_works_out_by_hand(loans):
    ingest(loans, window(0, 25))
    assert_same(customer_payments_by_hand(loans.valid("payments", window(0, 25))), loans.newest("customer_payments"))


def test_times_are_utc_microseconds_and_created_in_time(loans):
    ingest(loans, window(0, 20), window(20, 40))
    for view in VIEWS:
        rows = loans.rows(view)
        for column in ("event_timestamp", "created_timestamp"):
            assert str(rows[column].dtype) == "datetime64[us, UTC]"
        assert (rows["created_timestamp"] == rows["event_timestamp"]).all()  # nothing was late


def test_a_key_and_moment_has_one_row(loans):
    ingest(loans, window(0, 20), window(20, 40))
    for view, key in (("customer_payments", "customer_id"), ("loan_terms", "loan_id")):
        assert not loans.rows(view).duplicated([key, "event_timestamp"]).any()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Fifty days that came in one window."""
    return ingest(Loans.copy_to(tmp_path_factory.mktemp("whole") / "loans"), window(0, 50))


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(cuts=st.sets(st.integers(1, 99), min_size=1, max_size=3), each=st.booleans())
def test_any_way_to_cut_history_gives_the_same_rows(whole, tmp_path_factory, cuts, each):
    edges = [0, *(c / 2 for c in sorted(cuts)), 50]
    windows = [window(a, b) for a, b in itertools.pairwise(edges)]
    parts = ingest(Loans.copy_to(tmp_path_factory.mktemp("parts") / "loans"), *windows, each=each)
    for view in VIEWS:
        assert_frame_equal(parts.rows(view), whole.rows(view))


def test_a_new_window_leaves_older_files_alone(loans):
    ingest(loans, window(0, 40))
    before = loans.files("features")
    ingest(loans, window(40, 45))
    after = loans.files("features")
    assert len(after) > len(before)
    assert {name: after[name] for name in before} == before


def test_again_changes_nothing(loans):
    ingest(loans, window(0, 20), window(20, 40))
    before = loans.files("features")
    assert not any(transform(loans.repo).values())
    assert loans.files("features") == before


def test_a_rebuild_gives_the_same_bytes(loans):
    ingest(loans, window(0, 20), window(20, 33), window(33, 40))
    before = loans.files("features")
    rebuild(loans.repo)
    assert loans.files("features") == before


def test_a_window_without_rows_is_taken(loans):
    loans.source_gives(
        "if since >= ORIGIN + timedelta(days=20):\n    tables = {n: t.head(0) for n, t in tables.items()}"
    )
    ingest(loans, window(0, 20), window(20, 21))
    assert (loans.rows("customer_payments")["event_timestamp"] < pd.Timestamp(day(20))).all()


def test_nothing_to_transform_says_so(loans):
    with pytest.raises(NoData) as caught:
        transform(loans.repo)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("SELECT customer_id, 1 AS payments_30d, 0 AS missed_30d, 0 AS last_missed FROM payments", "event_timestamp"),
        ("SELECT loan_id, 1 AS payments_30d, known_at AS event_timestamp FROM payments", "customer_id"),
        ("SELECT customer_id, known_at AS event_timestamp FROM payments", "missed_30d"),
        ("SELECT nothing_like_this FROM payments", "nothing_like_this"),
        ("SELECT customer_id FROM no_such_table", "no_such_table"),
    ],
)
def test_wrong_sql_is_named(loans, text, word):
    loans.sql("customer_payments", text)
    with pytest.raises(PunctualError, match=word) as caught:
        ingest(loans, window(0, 10))
    assert "customer_payments" in str(caught.value)


def test_a_changed_query_is_not_mixed_with_old_rows(loans):
    ingest(loans, window(0, 20))
    text = loans.repo.queries["customer_payments"].text.replace("INTERVAL 30 DAYS", "INTERVAL 3 DAYS")
    loans.sql("customer_payments", text)
    ingest(loans, window(20, 25))
    rows = loans.rows("customer_payments")
    now = loans.payments(window(0, 20), window(20, 25))
    for row in rows[rows["event_timestamp"] < pd.Timestamp(day(20))].itertuples():
        age = row.event_timestamp - now.loc[now["customer_id"] == row.customer_id, "known_at"]
        assert row.payments_30d == age.between(pd.Timedelta(0), pd.Timedelta(days=3)).sum()


def test_a_query_may_date_its_rows_itself(loans):
    # Due dates are event times; a payment is known two hours later, so some become known a window later.
    loans.sql(
        "customer_payments",
        "SELECT customer_id, count(*) AS payments_30d, 0 AS missed_30d, 0 AS last_missed, due_at AS event_timestamp, "
        "max(known_at) AS created_timestamp FROM payments GROUP BY customer_id, due_at",
    )
    windows = window(0, 20), window(20, 25), window(25, 30)
    ingest(loans, *windows)
    rows, paid = loans.rows("customer_payments"), loans.payments(*windows)
    assert rows["payments_30d"].sum() == len(paid)
    assert (rows["created_timestamp"] - rows["event_timestamp"] == pd.Timedelta(hours=2)).all()
