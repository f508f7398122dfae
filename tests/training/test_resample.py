"""Metrics by counts are scikit-learn's of the rows written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluate import RANKED
from training.resample import metric_of_counts


@pytest.mark.parametrize("metric", sorted(RANKED))
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 1.0]), st.integers(0, 3)), min_size=2
    )
)
def test_by_counts_it_is_the_same_as_with_the_rows_written_out(metric, rows):
    y, p, counts = (np.array(column) for column in zip(*rows, strict=True))
    found = metric_of_counts(metric, y, p.astype(float))
    drawn_y, drawn_p = np.repeat(y, counts), np.repeat(p.astype(float), counts)
    if len(np.unique(drawn_y)) < 2:
        return
    assert found(counts) == pytest.approx(RANKED[metric](drawn_y, drawn_p), abs=1e-9)
