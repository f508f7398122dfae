"""The index and the tests, against their definitions, SciPy, and samples of which the law is known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from monitoring.drift_tests import adjust, measure
from training.stability import bins_of, describe, present, reference_counts, stability_index

COUNTS = st.lists(st.integers(0, 5000), min_size=2, max_size=12)
NUMBERS = st.lists(st.none() | st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=80)


def column(values, kind=None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


@given(COUNTS)
def test_counts_do_not_lie_far_from_themselves(counts):
    assert stability_index(np.array(counts), np.array(counts)) == 0


@given(COUNTS, st.randoms())
def test_the_index_is_never_negative_and_knows_no_order_of_bins(counts, random):
    pairs = [(c, random.randint(0, 5000)) for c in counts]
    one = stability_index(*np.array(pairs).T)
    random.shuffle(pairs)
    assert one >= 0
    assert stability_index(*np.array(pairs).T) == pytest.approx(one)


def test_the_index_is_the_textbooks_where_rows_are_many():
    r, c = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    assert stability_index(r * 1e9, c * 1e9) == pytest.approx(((c - r) * np.log(c / r)).sum(), rel=1e-6)


@pytest.mark.parametrize("rows", [100, 500, 5000])
def test_small_windows_do_not_look_moved_for_being_small(rows):
    rng, law = np.random.default_rng(0), np.full(10, 0.1)
    found = stability_index(np.full(10, 10_000), rng.multinomial(rows, law, size=400))
    plain = 9 / rows  # what the index would be on average without the correction
    assert found.mean() < 0.5 * plain


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_p_values_are_adjusted_as_scipy_does(p_values):
    assert adjust(p_values) == pytest.approx(false_discovery_control(p_values), abs=1e-12)


@given(NUMBERS)
@settings(max_examples=60)
def test_every_number_has_a_bin_and_the_description_counts_them(values):
    numbers = column(values, pa.float64())
    about = describe("numeric", numbers)
    there = present("numeric", numbers)
    counts = reference_counts(about)
    assert counts.sum() == len(there) == sum(v is not None and v == v for v in values)
    assert about["missing"] == pytest.approx(1 - len(there) / len(values))
    bins = np.bincount(bins_of(about, there), minlength=len(counts))
    assert bins.tolist() == counts.tolist()


def test_whole_numbers_in_training_and_floats_in_the_log_are_the_same_values():
    about = describe("numeric", column([0, 1, 1, 2] * 50))
    logged = present("numeric", column([0.0, 1.0, 2.0, 3.0]))
    assert bins_of(about, logged).tolist() == [1, 0, 2, 4]  # the commonest first; 3 is new


def test_rare_categories_are_counted_together_and_unknown_ones_apart():
    about = describe("categorical", column(["a"] * 500 + ["b"] * 490 + [f"rare{i}" for i in range(10)]))
    assert reference_counts(about).tolist() == [500, 490, 10, 0]
    assert bins_of(about, column(["a", "b", "rare3", "never"])).tolist() == [0, 1, 2, 3]


def test_a_category_is_not_unknown_where_there_were_too_many_to_keep():
    about = describe("categorical", column([f"c{i}" for i in range(1500)] * 2))
    assert about["others"] == 1000
    found = measure(about, 3000, column(["c1"] * 100), column(["never"] * 100))
    assert found.new == []
    assert "unknown" not in found.effects


def test_a_value_that_is_very_common_has_a_bin_of_its_own():
    about = describe("numeric", column([0.0] * 900 + list(np.linspace(1, 2, 100))))
    assert about["edges"][0] == 0.0
    assert about["counts"][0] == 900


@pytest.mark.parametrize("values", [[], [None] * 40, [1.0] * 20])
def test_of_few_values_nothing_is_said(values):
    about = describe("numeric", column(list(np.linspace(0, 1, 500))))
    current = column([*values, *[None] * 500], pa.float64())
    found = measure(about, 500, column([0.1] * 60), current)
    assert found.test == "too few values"
    assert "values" not in found.effects
    assert found.effects["missing"] > 1
