"""The gate: bounds first, then the champion on the same rows, by more than noise."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import ConfigError
from core.problem import Gate, Problem
from tests.training.loans import LOANS
from training.evaluate import scores
from training.gate import judge, paired_gain

RNG = np.random.default_rng(1)
TRUTH = RNG.uniform(0.02, 0.7, 4000)
Y = (RNG.random(4000) < TRUTH).astype(int)
GOOD = TRUTH
POOR = np.clip(TRUTH + RNG.normal(0, 0.3, 4000), 0.01, 0.99)
ALIKE = np.clip(TRUTH + RNG.normal(0, 0.001, 4000), 0.01, 0.99)


def decide(gate: Gate, new: np.ndarray, old: np.ndarray | None = None):
    return judge(gate, Y, new, old, 0.5, seed=7)


def test_the_first_model_passes_on_its_bounds_alone():
    auc, brier = (scores(Y, GOOD, 0.5)[m] for m in ("auc", "brier"))
    verdict = decide(Gate(floors={"auc": auc - 0.01}, ceilings={"brier": brier + 0.01}), GOOD)
    assert verdict.passed
    assert len(verdict.reasons) == 3
    assert decide(Gate(), POOR).passed


@pytest.mark.parametrize("gate", [Gate(floors={"auc": 0.99}), Gate(ceilings={"brier": 0.01})])
def test_a_bound_that_is_missed_is_named_with_both_numbers(gate):
    verdict = decide(gate, GOOD)
    assert not verdict.passed
    (name, bound), *_ = {**gate.floors, **gate.ceilings}.items()
    (reason,) = [r for r in verdict.reasons if r.startswith("no: ")]
    assert name in reason
    assert str(bound) in reason
    assert f"{scores(Y, GOOD, 0.5)[name]:.4f}" in reason


def test_a_bound_counts_for_one_that_beats_the_champion_too():
    assert not decide(Gate(floors={"auc": 0.99}), GOOD, POOR).passed


def test_a_bound_itself_is_enough():
    found = scores(Y, GOOD, 0.5)
    assert decide(Gate(floors={"auc": found["auc"]}, ceilings={"brier": found["brier"]}), GOOD).passed


@pytest.mark.parametrize("metric", ["auc", "average_precision", "brier", "log_loss"])
def test_a_better_model_passes_and_a_worse_one_does_not(metric):
    assert decide(Gate(metric=metric), GOOD, POOR).passed
    verdict = decide(Gate(metric=metric), POOR, GOOD)
    assert not verdict.passed
    assert "4,000 rows" in verdict.reasons[-1]


def test_the_same_model_again_does_not_pass():
    assert not decide(Gate(), GOOD, GOOD.copy()).passed


def test_a_gain_within_noise_does_not_pass():
    assert not decide(Gate(), GOOD, ALIKE).passed
    assert not decide(Gate(), ALIKE, GOOD).passed


def test_the_least_gain_is_asked_for():
    gain, low = paired_gain("auc", Y, GOOD, POOR, 7)
    assert 0 < low < gain
    assert decide(Gate(min_gain=low - 0.001), GOOD, POOR).passed
    assert not decide(Gate(min_gain=low + 0.001), GOOD, POOR).passed


def test_the_gain_is_that_of_the_metrics():
    gain, _ = paired_gain("brier", Y, GOOD, POOR, 7)
    assert gain == pytest.approx(scores(Y, POOR, 0.5)["brier"] - scores(Y, GOOD, 0.5)["brier"])


def test_the_verdict_is_the_same_each_time():
    assert decide(Gate(), GOOD, POOR) == decide(Gate(), GOOD, POOR)


def test_rows_of_one_class_pass_no_floor():
    verdict = judge(Gate(floors={"auc": 0.1}), np.zeros(100, int), GOOD[:100], None, 0.5, 7)
    assert not verdict.passed


@pytest.mark.parametrize("field", ["floors", "ceilings"])
def test_a_bound_on_a_metric_that_is_none_is_refused_at_once(tmp_path, field):
    path = tmp_path / "problem.yaml"
    text = (LOANS / "problem.yaml").read_text().replace("floors: { auc: 0.5 }", f"{field}: {{ accuracy: 0.5 }}")
    path.write_text(text)
    with pytest.raises(ConfigError, match="accuracy"):
        Problem.load(path)
