from __future__ import annotations

import pytest

from core.errors import NoData
from core.settings import get_settings
from ingestion.leakage import check_leakage, spread_cuts
from tests.ingestion.loans import Loans, day, ingest, window

CUTS = [day(12.3), day(21.7), day(29.9)]

# Each knows something before it can be known.
LEAKY = {
    "the due date, not the moment the payment was known": (
        "customer_payments",
        "known_at AS event_timestamp",
        "due_at AS event_timestamp",
        {"(row)", "payments_30d", "missed_30d", "last_missed"},
    ),
    "a window that looks ahead": (
        "customer_payments",
        "INTERVAL 30 DAYS PRECEDING AND CURRENT ROW",
        "INTERVAL 30 DAYS PRECEDING AND INTERVAL 1 DAY FOLLOWING",
        {"payments_30d", "missed_30d"},
    ),
    "an average over all of history": (
        "loan_terms",
        "customer_id, amount,",
        "customer_id, avg(amount) OVER (PARTITION BY region) AS amount,",
        {"amount"},
    ),
    "a row that later ones take away": (
        "loan_terms",
        "FROM loans",
        "FROM loans QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY known_at DESC) <= 3",
        {"(row)"},
    ),
    "an outcome in the plan": (
        "loan_terms",
        "amount, region,",
        "(SELECT count(*) FROM payments AS p WHERE p.loan_id = loans.loan_id AND p.missed = 1) AS amount, region,",
        {"amount"},
    ),
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    get_settings()
    return ingest(Loans.copy_to(tmp_path_factory.mktemp("honest") / "loans"), window(0, 20), window(20, 35))


def test_an_honest_repo_has_no_leak(honest):
    report = check_leakage(honest.repo, CUTS)
    assert report.leaks == []
    rows = sum(
        len(honest.rows(v).query("event_timestamp < @cut")) for v in ("loan_terms", "customer_payments") for cut in CUTS
    )
    assert report.rows >= rows > 0


def test_the_cut_itself_is_not_known_yet(honest):
    moment = honest.rows("customer_payments")["event_timestamp"].iloc[200].to_pydatetime()
    assert check_leakage(honest.repo, [moment]).leaks == []


@pytest.mark.parametrize("name", list(LEAKY))
def test_a_leak_is_named(honest, tmp_path, name):
    view, old, new, columns = LEAKY[name]
    loans = honest.copied_to(tmp_path / "loans")
    text = loans.repo.queries[view].text
    assert old in text
    loans.sql(view, text.replace(old, new))
    leaks = check_leakage(loans.repo, CUTS).leaks
    assert leaks
    assert {leak.view for leak in leaks} == {view}
    assert {leak.column for leak in leaks} <= columns
    for leak in leaks:
        assert leak.cut in CUTS
        assert leak.known != leak.later
        assert {"loan_terms": "loan_id", "customer_payments": "customer_id"}[view] in leak.row
        assert leak.row["event_timestamp"] < leak.cut
        assert view in str(leak)
        assert leak.column in str(leak)


def test_a_spine_that_changes_afterwards_is_named(honest, tmp_path):
    loans = honest.copied_to(tmp_path / "loans")
    text = loans.repo.queries["spine"].text
    loans.sql("spine", text.replace("l.amount,", "sum(p.missed) OVER (PARTITION BY p.customer_id) AS amount,"))
    leaks = check_leakage(loans.repo, CUTS).leaks
    assert {leak.view for leak in leaks} == {"spine"}


def test_late_rows_and_corrections_are_no_leak(tmp_path):
    loans = Loans.copy_to(tmp_path / "loans")
    with (loans.folder / "source.py").open("a") as file:
        file.write("\n\n_before = fetch\n")
    # Some payments come again, two days later than first said, with the other outcome.
    loans.source_gives(
        """
if since == ORIGIN + timedelta(days=20):
    again = _before(ORIGIN + timedelta(days=10), ORIGIN + timedelta(days=17))['payments'].iloc[::3]
    again = again.assign(missed=1 - again['missed'], known_at=again['known_at'] + timedelta(days=2))
    tables['payments'] = pd.concat([again, tables['payments']], ignore_index=True).astype({'known_at': UTC_TIME})
"""
    )
    ingest(loans, window(0, 20), window(20, 35))
    assert check_leakage(loans.repo, CUTS).leaks == []


def test_a_query_that_dates_its_rows_itself_is_cut_where_they_became_known(honest, tmp_path):
    loans = honest.copied_to(tmp_path / "loans")
    loans.sql(
        "customer_payments",
        "SELECT customer_id, count(*) AS payments_30d, 0 AS missed_30d, max(missed) AS last_missed, "
        "due_at AS event_timestamp, max(known_at) AS created_timestamp FROM payments GROUP BY customer_id, due_at",
    )
    due = loans.valid("payments", window(0, 20))["due_at"].iloc[30]
    assert check_leakage(loans.repo, [due.to_pydatetime().replace(microsecond=1), *CUTS]).leaks == []


def test_cuts_are_spread_over_what_there_is(honest):
    cuts = spread_cuts(honest.repo, 4)
    assert cuts == sorted(set(cuts))
    assert len(cuts) == 4
    assert day(0) < cuts[0]
    assert cuts[-1] < day(35)


def test_nothing_to_check_says_so(loans):
    with pytest.raises(NoData):
        check_leakage(loans.repo, CUTS)
    with pytest.raises(NoData):
        spread_cuts(loans.repo, 3)
