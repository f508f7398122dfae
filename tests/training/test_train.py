"""Training end to end on real MLflow: what is chosen, what serves, and what is written beside it."""

from __future__ import annotations

import json
import shutil

import pytest

from core.errors import NoData
from tests.training.loans import QUICK
from training.evaluate import scores
from training.registry import CHALLENGER, CHAMPION, Registry
from training.train import train


def test_the_first_model_is_promoted_and_serves(trained):
    loans, outcome = trained
    assert outcome.verdict.passed
    assert loans.pointer() == {"name": "loans", "version": outcome.version}
    model = loans.served()
    columns, y = loans.test_rows()
    found = scores(y, model.predict_proba(columns), model.threshold)
    assert found == pytest.approx(outcome.metrics)
    assert found["auc"] > 0.65
    assert model.classes == ("paid", "missed")
    assert model.version == outcome.version


def test_the_model_sees_the_service_and_nothing_else(trained):
    names = [f.name for f in trained[0].served().features]
    assert set(names) == {"region", "hour", "payments_30d", "missed_30d", "last_missed", "amount_thousands"}


def test_mlflow_has_a_run_a_candidate_under_one_parent(trained):
    loans, outcome = trained
    client = Registry(loans.repo).client
    experiment = client.get_experiment_by_name("loans")
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"train", "logistic", "hist_gradient_boosting"}
    parent = runs["train"]
    assert {r.info.status for r in runs.values()} == {"FINISHED"}
    for name in ("logistic", "hist_gradient_boosting"):
        assert runs[name].data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert runs[name].data.metrics["validation_auc"] > 0.5
    assert runs["hist_gradient_boosting"].data.params["max_iter"] == "30"
    best = max(("logistic", "hist_gradient_boosting"), key=lambda n: runs[n].data.metrics["validation_auc"])
    assert outcome.candidate == best == parent.data.params["candidate"]
    for name in ("auc", "brier", "f1"):
        assert parent.data.metrics[name] == pytest.approx(outcome.metrics[name])
    kept = [a.path for a in client.list_artifacts(parent.info.run_id, "reports/plots")]
    assert {f"reports/plots/{n}.png" for n in ("roc", "precision_recall", "calibration", "scores")} <= set(kept)


def test_reports_are_there_for_dvc(trained):
    loans, outcome = trained
    reports = loans.repo.layout.reports
    metrics = json.loads((reports / "metrics.json").read_text())
    assert metrics["test"]["auc"] == pytest.approx(outcome.metrics["auc"])
    assert metrics["rows"]["test"] == outcome.metrics["rows"]
    for name in ("roc", "precision_recall", "calibration", "importance", "slices"):
        assert (reports / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert isinstance(json.loads((reports / "plots" / f"{name}.json").read_text()), list)
    importance = json.loads((reports / "plots" / "importance.json").read_text())
    assert importance[0]["name"] in ("missed_30d", "last_missed", "amount_thousands", "payments_30d")


def test_again_on_the_same_data_it_is_the_same_model_and_no_new_champion(trainable):
    first = train(trainable.repo, QUICK)
    before = trainable.served()
    second = train(trainable.repo, QUICK)
    assert second.metrics == first.metrics
    assert (second.version, second.verdict.passed) == ("2", False)
    assert trainable.pointer() == {"name": "loans", "version": "1"}
    assert trainable.challenger() == "2"
    registry = Registry(trainable.repo)
    assert (registry.version_of(CHAMPION), registry.version_of(CHALLENGER)) == ("1", "2")
    columns, _ = trainable.test_rows()
    assert registry.load("2").predict_proba(columns).tolist() == before.predict_proba(columns).tolist()


def test_a_model_below_its_floor_is_registered_but_does_not_serve(trainable):
    trainable.problem(gate={"floors": {"auc": 0.999}})
    outcome = train(trainable.repo, QUICK)
    assert not outcome.verdict.passed
    assert any("0.999" in reason for reason in outcome.verdict.reasons)
    registry = Registry(trainable.repo)
    assert (registry.version_of(CHAMPION), registry.version_of(CHALLENGER)) == (None, "1")
    assert trainable.pointer() is None


def test_without_promotion_the_gate_is_asked_but_nothing_serves(trainable):
    assert train(trainable.repo, QUICK, promote=False).verdict.passed
    assert trainable.pointer() is None
    assert Registry(trainable.repo).version_of(CHAMPION) is None


def test_a_key_can_be_a_feature(trainable):
    trainable.problem(key_features=["customer_id"])
    train(trainable.repo, QUICK)
    feature = trainable.served().features[0]
    assert (feature.name, feature.kind) == ("customer_id", "categorical")
    assert set(feature.categories) <= set(range(61))


def test_without_a_training_set_it_says_what_to_do(trainable):
    shutil.rmtree(trainable.repo.layout.dataset)
    with pytest.raises(NoData) as caught:
        train(trainable.repo, QUICK)
    assert "dataset" in caught.value.hint
