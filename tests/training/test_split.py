"""The split keeps time's order, and no part learns from labels that were not known when the next one began."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import NoData
from core.problem import Split
from training.split import MIN_ROWS, Parts, time_split

START = pd.Timestamp("2024-01-01", tz="UTC")


def series(minutes: list[int]) -> pd.Series:
    """Return UTC moments so many minutes after the start, as Parquet gives them."""
    return pd.Series(START + pd.to_timedelta(minutes, unit="min")).astype("datetime64[us, UTC]")


@given(
    rows=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 400)), min_size=1, max_size=300),
    validation=st.floats(0.05, 0.45),
    test=st.floats(0.05, 0.45),
)
def test_no_row_of_a_part_is_later_than_any_of_the_next(rows, validation, test):
    event = series([moment for moment, _ in rows])
    known = series([moment + wait for moment, wait in rows])
    try:
        parts = time_split(event, known, Split(validation=validation, test=test))
    except NoData:
        return  # drawn too small
    pieces = [parts.train, parts.validation, parts.test]
    assert all(len(p) >= MIN_ROWS for p in pieces)
    assert len(np.unique(np.concatenate(pieces))) == sum(map(len, pieces))
    assert event[parts.train].max() < parts.validation_from <= event[parts.validation].min()
    assert event[parts.validation].max() < parts.test_from <= event[parts.test].min()
    assert known[parts.train].max() <= parts.validation_from
    assert known[parts.validation].max() <= parts.test_from
    for piece in pieces:
        assert event[piece].is_monotonic_increasing
    # Nothing is left out but what the embargo asks for.
    left_out = sorted(set(range(len(rows))) - set(np.concatenate(pieces).tolist()))
    for row in left_out:
        border = parts.validation_from if event[row] < parts.validation_from else parts.test_from
        assert event[row] < border < known[row]


def split_evenly(count: int) -> Parts:
    minutes = list(range(count))
    return time_split(series(minutes), series(minutes), Split(validation=0.2, test=0.1))


def test_the_shares_are_those_asked_for():
    parts = split_evenly(1000)
    assert (len(parts.validation), len(parts.test)) == (200, 100)
    assert len(parts.train) == 700
    assert parts.test_from == START + pd.Timedelta(minutes=900)


def test_the_order_of_rows_does_not_matter():
    minutes = np.random.default_rng(1).permutation(500).tolist()
    parts = time_split(series(minutes), series(minutes), Split())
    assert [minutes[i] for i in parts.test] == list(range(425, 500))


@pytest.mark.parametrize("count", [1, 3, 100, 130])
def test_too_few_rows_say_so(count):
    with pytest.raises(NoData, match="rows") as caught:
        split_evenly(count)
    assert caught.value.hint


def test_a_label_known_after_the_border_is_left_out():
    minutes = list(range(1000))
    known = [m + 50 for m in minutes]
    parts = time_split(series(minutes), series(known), Split(validation=0.2, test=0.1))
    assert parts.train.tolist() == list(range(651))  # known at 700 at the latest, when validation begins
    assert parts.validation.tolist() == list(range(700, 851))
    assert parts.test.tolist() == list(range(900, 1000))
