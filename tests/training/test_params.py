"""What is wrong in problem.yaml or params.yaml is named, and before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ConfigError
from tests.training.loans import QUICK
from training.params import TrainParams
from training.registry import Registry
from training.train import train

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"candidates": ["logistic", "deep_thought"]}, "deep_thought"),
        ({"slices": ["planet"]}, "planet"),
        ({"key_features": ["planet"]}, "planet"),
    ],
)
def test_a_wrong_field_is_named_before_anything_is_trained(trainable, changes, word):
    trainable.problem(**changes)
    with pytest.raises(ConfigError, match=word):
        train(trainable.repo, QUICK)
    client = Registry(trainable.repo).client
    runs = client.search_runs([client.get_experiment_by_name("loans").experiment_id])
    assert [r.info.run_name for r in runs if r.info.run_name != "train"] == []


def test_a_wrong_parameter_of_a_candidate_is_named(trainable):
    with pytest.raises(ConfigError, match="max_iterations"):
        train(trainable.repo, TrainParams(hist_gradient_boosting={"max_iterations": 3}))


@pytest.mark.parametrize(
    ("text", "word"),
    [("train: {seeds: 3}", "seeds"), ("train: {seed: many}", "many"), ("train: [1]", "train"), ("{", "params.yaml")],
)
def test_wrong_params_are_named(tmp_path, text, word):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=word):
        TrainParams.load(path)


def test_params_of_the_project_are_read():
    assert TrainParams.load(ROOT / "params.yaml").seed == 7
    assert TrainParams.load(ROOT / "no_such.yaml") == TrainParams()
