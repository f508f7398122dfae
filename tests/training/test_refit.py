"""The chosen candidate learns from the validation rows too in the end, and never from a test row."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from tests.training.loans import QUICK
from training.candidates import make
from training.data import prepare
from training.dataset import read_dataset
from training.params import TrainParams
from training.train import fit_candidate, refit_candidate, train


def prepared(loans, *bounds):
    rows, manifest = read_dataset(loans.repo)
    return prepare(loans.repo.problem, rows, manifest["spine_columns"], QUICK, *bounds)


def test_it_learns_from_train_and_validation_and_never_from_test(trainable):
    data = prepared(trainable)
    parts = data.parts
    assert sorted(data.learned) == sorted([*parts.train, *parts.validation])
    assert not set(data.learned) & set(parts.test)


def test_bounds_hold_for_the_validation_rows_as_well(trainable):
    until = datetime(2024, 2, 1, tzinfo=UTC)
    rows, _ = read_dataset(trainable.repo)
    data = prepared(trainable, None, until)
    moments = rows.column("event_timestamp").to_pandas()
    assert len(data.parts.validation) > 0
    assert all(moments[i] < until for i in data.learned)


def test_the_registered_model_is_the_second_fit_with_the_first_ones_calibration(trained):
    loans, outcome = trained
    data = prepared(loans)
    first = fit_candidate(loans.repo.problem, outcome.candidate, data, QUICK)
    by_hand = make(outcome.candidate, data.features, QUICK).fit(*data.part(data.learned))
    served = loans.served()
    matrix, _ = data.part(data.parts.test)
    assert served.metadata["refit"] is True
    np.testing.assert_allclose(served.estimator.predict_proba(matrix), by_hand.predict_proba(matrix))
    np.testing.assert_allclose(served.calibration, first.calibration)
    assert served.threshold == first.threshold


def test_catboost_stops_at_the_round_that_the_first_fit_found(trainable):
    data = prepared(trainable)
    params = TrainParams(catboost={"iterations": 60, "learning_rate": 0.3, "depth": 3, "early_stopping_rounds": 5})
    first = fit_candidate(trainable.repo.problem, "catboost", data, params)
    assert first.estimator.model_.tree_count_ < 60
    second = refit_candidate(first, "catboost", data, params)
    assert second.estimator.model_.tree_count_ == first.estimator.model_.tree_count_
    matrix, _ = data.part(data.parts.test)
    assert not np.allclose(second.score(matrix), first.score(matrix))


def test_it_can_be_left_out(trainable):
    params = QUICK.model_copy(update={"refit": False})
    outcome = train(trainable.repo, params)
    data = prepared(trainable)
    first = fit_candidate(trainable.repo.problem, outcome.candidate, data, params)
    matrix, _ = data.part(data.parts.test)
    assert "refit" not in trainable.served().metadata
    assert trainable.served().score(matrix) == pytest.approx(first.score(matrix))
