"""The skew check compares value by value, and sees it when the online store was tampered with."""

from __future__ import annotations

import math

import pytest

from monitoring.comparison import compare, same
from monitoring.skew import check_logged, check_sampled
from stores.connection import connect
from stores.registry import open_store


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (1, 1, True),
        (1, 2, False),
        (None, math.nan, True),
        (None, 0, False),
        ("a", "a", True),
        ("a", None, False),
        (0.1 + 0.2, 0.3, True),
        (0.1, 0.1001, False),
        (True, True, True),
    ],
)
def test_when_two_values_are_the_same(left, right, equal):
    assert same(left, right) is equal


def test_a_difference_names_row_feature_and_both_values():
    report = compare(["loan 7", "loan 8"], {"x": [1, 2]}, {"x": [1, 3]}, ["x"])
    assert (report.rows, report.values) == (2, 2)
    assert str(report.differences[0]) == "loan 8: x is 2 online, 3 offline"


def test_what_was_materialized_is_what_history_says(served):
    report = check_sampled(served.repo, 50)
    assert report.values > 200
    assert report.differences == []


def test_without_predictions_there_is_nothing_logged_to_compare(served):
    assert check_logged(served.repo, 10).rows == 0


def test_a_row_that_was_lost_online_is_found(served):
    client = connect(open_store(served.repo).config)
    keys = [k for k in client.scan_iter(b"*loan_id*") if not k.startswith(b"punctual:")]
    client.delete(*keys)
    report = check_sampled(served.repo, 5)
    client.flushall()
    served.fill()
    assert any("loan_terms" in d.where for d in report.differences)
    assert check_sampled(served.repo, 5).unexplained == 0
