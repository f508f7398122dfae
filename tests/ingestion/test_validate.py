from __future__ import annotations

import pytest

from core.errors import DataError
from ingestion.fetch import fetch_window
from ingestion.validate import validate_all
from tests.ingestion.loans import window

FIRST, SECOND = window(0, 10), window(10, 12)


def fetched(loans, *changes, windows=(FIRST,)):
    for change in changes:
        loans.source_gives(change)
    for one in windows:
        fetch_window(loans.repo, one)
    return loans


def test_good_rows_all_pass_in_their_order(loans):
    fetched(loans)
    validate_all(loans.repo)
    for table in ("loans", "payments"):
        assert loans.valid(table, FIRST).equals(loans.raw(table, FIRST))
        assert len(loans.quarantine(table, FIRST)) == 0


@pytest.mark.parametrize(
    ("change", "table", "word"),
    [
        ("tables['loans'].loc[3, 'amount'] = -5.0", "loans", "amount"),
        ("tables['loans'].loc[3, 'amount'] = None", "loans", "amount"),
        ("tables['loans'].loc[3, 'region'] = 'moon'", "loans", "region"),
        ("tables['loans'].loc[3, 'region'] = None", "loans", "region"),
        ("tables['payments'].loc[3, 'missed'] = 7", "payments", "missed"),
        ("tables['payments'].loc[3, 'loan_id'] = 987654", "payments", "loan_id"),
        ("tables['loans'].loc[3, 'known_at'] += timedelta(days=300)", "loans", "known_at"),
    ],
)
def test_a_bad_row_goes_to_quarantine_with_the_reason(loans, change, table, word):
    fetched(loans, change)
    validate_all(loans.repo)
    raw, valid, bad = (of(table, FIRST) for of in (loans.raw, loans.valid, loans.quarantine))
    assert len(bad) == 1
    assert word in bad["reason"].iloc[0]
    assert len(valid) == len(raw) - 1
    key = loans.repo.schemas[table].unique[0]
    assert bad[key].tolist() == raw[key].iloc[[3]].tolist()
    assert set(valid[key]) | set(bad[key]) == set(raw[key])


def test_several_reasons_are_all_named(loans):
    fetched(loans, "tables['loans'].loc[3, ['amount', 'region']] = [-5.0, 'moon']")
    validate_all(loans.repo)
    bad = loans.quarantine("loans", FIRST)
    assert len(bad) == 1
    assert "amount" in bad["reason"].iloc[0]
    assert "region" in bad["reason"].iloc[0]


def test_a_key_twice_in_one_window_is_not_taken_twice(loans):
    fetched(loans, "tables['loans'] = pd.concat([tables['loans'], tables['loans'].iloc[[4]]], ignore_index=True)")
    validate_all(loans.repo)
    valid, bad = loans.valid("loans", FIRST), loans.quarantine("loans", FIRST)
    assert not valid["loan_id"].duplicated().any()
    assert len(valid) + len(bad) == len(loans.raw("loans", FIRST))
    assert bad["reason"].str.contains("loan_id").all()


def test_a_key_again_in_a_later_window_is_a_correction(loans):
    again = "if since >= ORIGIN + timedelta(days=10):\n"
    again += "    old = fetch(ORIGIN, ORIGIN + timedelta(days=3))['loans'].head(1)\n"
    again += "    tables['loans'] = pd.concat([old, tables['loans']], ignore_index=True)"
    fetched(loans, again, windows=(FIRST, SECOND))
    validate_all(loans.repo)
    assert len(loans.quarantine("loans", SECOND)) == 0
    assert len(loans.valid("loans", SECOND)) == len(loans.raw("loans", SECOND))


def test_a_reference_to_an_earlier_window_holds(loans):
    fetched(loans, windows=(FIRST, SECOND))
    validate_all(loans.repo)
    paid = loans.valid("payments", SECOND)
    assert len(paid) == len(loans.raw("payments", SECOND)) > 0
    assert not set(paid["loan_id"]) <= set(loans.valid("loans", SECOND)["loan_id"])


@pytest.mark.parametrize("change", ["del tables['loans']['amount']", "tables['loans']['amount'] = 'much'"])
def test_a_broken_table_stops_with_nothing_written(loans, change):
    fetched(loans, change)
    with pytest.raises(DataError, match="amount"):
        validate_all(loans.repo)
    assert loans.files("valid") == {}


def test_a_window_that_is_mostly_bad_stops(loans):
    fetched(loans, "tables['loans']['amount'] = -1.0")
    with pytest.raises(DataError):
        validate_all(loans.repo)
    assert loans.files("valid") == {}


def test_what_is_checked_is_not_checked_again(loans):
    fetched(loans)
    assert len(list(validate_all(loans.repo))) == 1
    before = loans.files("valid")
    fetch_window(loans.repo, SECOND)
    assert len(list(validate_all(loans.repo))) == 1
    assert {n: b for n, b in loans.files("valid").items() if n.startswith(FIRST.id)} == before
    assert list(validate_all(loans.repo)) == []


def test_the_report_can_be_read(loans):
    fetched(loans, "tables['loans'].loc[3, 'region'] = 'moon'")
    (report,) = validate_all(loans.repo)
    assert "loans" in report.summary()
    reports = loans.files("reports")
    assert any(FIRST.id in name and name.endswith(".json") for name in reports)
    readable = [b.decode() for name, b in reports.items() if name.endswith((".md", ".html"))]
    assert any("region" in text and "loans" in text for text in readable)
