"""Training end to end on real MLflow: what is registered, what serves, and where all of it came from."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from core.errors import ConfigError, ModelUnavailable, NoData, PunctualError
from core.files import read_json
from core.model import PredictionModel
from tests.training.loans import Loans
from training.dataset import build_dataset, read_dataset
from training.evaluate import scores
from training.params import TrainParams
from training.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from training.split import time_split
from training.train import Outcome, train

QUICK = TrainParams(hist_gradient_boosting={"max_iter": 30, "min_samples_leaf": 20})
OTHER = TrainParams(hist_gradient_boosting={"max_iter": 3, "min_samples_leaf": 20}, logistic={"C": 0.001})


@pytest.fixture(scope="module")
def trained(with_dataset, tmp_path_factory) -> tuple[Loans, Outcome]:
    """Give a repo that was trained on once; nobody writes to it."""
    folder = tmp_path_factory.mktemp("trained") / "loans"
    shutil.copytree(with_dataset, folder)
    loans = Loans(folder)
    return loans, train(loans.repo, QUICK)


def test_rows(loans: Loans) -> tuple[dict[str, list], np.ndarray]:
    """Return columns and labels of the newest rows, by the split's own rule."""
    rows, _ = read_dataset(loans.repo)
    frame = rows.select(["event_timestamp", "label_timestamp"]).to_pandas()
    parts = time_split(frame["event_timestamp"], frame["label_timestamp"], loans.repo.problem.split)
    chosen = rows.take(parts.test)
    return chosen.to_pydict(), np.array(chosen.column("missed"))


test_rows.__test__ = False  # type: ignore[attr-defined]


def pointer(loans: Loans) -> dict[str, str] | None:
    path = loans.repo.layout.models / "champion.json"
    return read_json(path) if path.is_file() else None


def served(loans: Loans) -> PredictionModel:
    """Open what serving would open."""
    name = pointer(loans)
    assert name is not None
    return PredictionModel.load(loans.repo.layout.models / name["version"])


def test_the_first_model_is_promoted_and_serves(trained):
    loans, outcome = trained
    assert outcome.verdict.passed
    assert pointer(loans) == {"name": "loans", "version": outcome.version}
    model = served(loans)
    columns, y = test_rows(loans)
    found = scores(y, model.predict_proba(columns), model.threshold)
    assert found == pytest.approx(outcome.metrics)
    assert found["auc"] > 0.65
    assert model.classes == ("paid", "missed")
    assert model.version == outcome.version


def test_the_model_sees_the_service_and_nothing_else(trained):
    names = [f.name for f in served(trained[0]).features]
    assert set(names) == {"region", "hour", "payments_30d", "missed_30d", "last_missed", "amount_thousands"}


def test_it_can_be_traced(trained):
    loans, outcome = trained
    _, manifest = read_dataset(loans.repo)
    registry = Registry(loans.repo)
    version = registry.client.get_model_version("loans", outcome.version)
    expected = {
        "data_version": manifest["data_version"],
        "feature_service": "default_risk",
        "registry_version": manifest["registry_version"],
        "snapshot": manifest["sha256"],
    }
    run = registry.client.get_run(version.run_id)
    for tags in (version.tags, run.data.tags, served(loans).metadata):
        assert expected.items() <= tags.items()
    assert served(loans).metadata["run_id"] == version.run_id
    assert registry.version_of(CHAMPION) == registry.version_of(CHALLENGER) == outcome.version
    assert registry.version_of(PREVIOUS) is None


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


def test_any_mlflow_tool_loads_it_and_gets_the_same(trained):
    import mlflow

    loans, _ = trained
    Registry(loans.repo)
    model = mlflow.pyfunc.load_model("models:/loans@champion")
    columns, _ = test_rows(loans)
    names = [f.name for f in served(loans).features]
    frame = pd.DataFrame({n: columns[n] for n in names})
    frame = frame.astype({n: "float64" for n in names if n != "region"})  # MLflow has no other gaps in numbers
    frame.loc[::7, ["hour", "amount_thousands"]] = None
    columns |= {n: [None if v != v else v for v in frame[n]] for n in ("hour", "amount_thousands")}
    assert frame.isna().any().any()
    np.testing.assert_allclose(model.predict(frame), served(loans).predict_proba(columns))
    assert model.metadata.signature.inputs.input_names() == names
    assert len(model.predict(model.input_example)) > 0


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
    before = served(trainable)
    second = train(trainable.repo, QUICK)
    assert second.metrics == first.metrics
    assert (second.version, second.verdict.passed) == ("2", False)
    assert pointer(trainable) == {"name": "loans", "version": "1"}
    registry = Registry(trainable.repo)
    assert (registry.version_of(CHAMPION), registry.version_of(CHALLENGER)) == ("1", "2")
    columns, _ = test_rows(trainable)
    assert registry.load("2").predict_proba(columns).tolist() == before.predict_proba(columns).tolist()


def test_promotion_by_hand_and_back(trainable):
    train(trainable.repo, QUICK)
    train(trainable.repo, OTHER)
    registry = Registry(trainable.repo)
    with pytest.raises(NoData) as caught:
        registry.rollback()
    assert caught.value.hint
    registry.promote("2", ["by hand"])
    assert (registry.version_of(CHAMPION), registry.version_of(PREVIOUS)) == ("2", "1")
    assert served(trainable).version == "2"
    assert registry.client.get_model_version("loans", "2").tags["promotion"] == "by hand"
    assert registry.rollback() == "1"
    assert (registry.version_of(CHAMPION), registry.version_of(PREVIOUS)) == ("1", "2")
    assert served(trainable).version == "1"


@pytest.mark.parametrize("version", ["99", "latest", "", "../1"])
def test_a_version_that_is_not_there_is_named_and_changes_nothing(trained, version):
    loans, outcome = trained
    before = sorted(loans.repo.layout.models.rglob("*"))
    with pytest.raises(PunctualError) as caught:
        Registry(loans.repo).promote(version, [])
    assert caught.value.hint
    assert pointer(loans) == {"name": "loans", "version": outcome.version}
    assert Registry(loans.repo).version_of(CHAMPION) == outcome.version
    assert sorted(loans.repo.layout.models.rglob("*")) == before


def test_a_model_below_its_floor_is_registered_but_does_not_serve(trainable):
    trainable.problem(gate={"floors": {"auc": 0.999}})
    outcome = train(trainable.repo, QUICK)
    assert not outcome.verdict.passed
    assert any("0.999" in reason for reason in outcome.verdict.reasons)
    registry = Registry(trainable.repo)
    assert (registry.version_of(CHAMPION), registry.version_of(CHALLENGER)) == (None, "1")
    assert pointer(trainable) is None


def test_without_promotion_the_gate_is_asked_but_nothing_serves(trainable):
    assert train(trainable.repo, QUICK, promote=False).verdict.passed
    assert pointer(trainable) is None
    assert Registry(trainable.repo).version_of(CHAMPION) is None


def test_a_lost_or_spoilt_local_copy_comes_back_with_the_next_training(trainable):
    train(trainable.repo, QUICK)
    copy = trainable.repo.layout.models / "1"
    shutil.rmtree(copy)
    Registry(trainable.repo).sync_champion()
    assert served(trainable).version == "1"
    estimator = next(p for p in copy.iterdir() if p.suffix != ".json")
    estimator.write_bytes(estimator.read_bytes()[:-9])
    with pytest.raises(ModelUnavailable):
        served(trainable)
    Registry(trainable.repo).promote("1", ["again"])
    assert served(trainable).version == "1"


def test_with_a_new_mlflow_an_old_local_copy_of_the_same_number_is_not_taken_for_the_new_model(trainable, with_dataset):
    train(trainable.repo, QUICK)
    data = trainable.repo.layout.data
    shutil.copy(with_dataset / "data" / "mlflow.db", data / "mlflow.db")
    shutil.rmtree(data / "mlartifacts")
    outcome = train(trainable.repo, OTHER)
    assert (outcome.version, outcome.verdict.passed) == ("1", True)
    columns, y = test_rows(trainable)
    model = served(trainable)
    assert scores(y, model.predict_proba(columns), model.threshold) == pytest.approx(outcome.metrics)
    assert model.metadata["run_id"] == Registry(trainable.repo).client.get_model_version("loans", "1").run_id


def test_a_champion_of_other_library_versions_does_not_stop_training(trainable):
    train(trainable.repo, QUICK)
    for path in trainable.repo.layout.data.rglob("model.json"):
        header = json.loads(path.read_text())
        header["libraries"]["scikit-learn"] = "0.1"
        path.write_text(json.dumps(header))
    outcome = train(trainable.repo, QUICK)
    assert outcome.verdict.passed
    assert any("scikit-learn 0.1" in reason for reason in outcome.verdict.reasons)
    assert served(trainable).version == "2"


def test_a_champion_whose_features_are_gone_is_replaced_and_the_reason_says_so(trainable):
    train(trainable.repo, QUICK)
    definitions = trainable.folder / "definitions.py"
    definitions.write_text(definitions.read_text().replace("customer_payments, amount_scaled]", "customer_payments]"))
    from stores.registry import apply

    apply(trainable.repo)
    build_dataset(trainable.repo)
    outcome = train(trainable.repo, QUICK)
    assert any("amount_thousands" in reason for reason in outcome.verdict.reasons)
    assert pointer(trainable) == {"name": "loans", "version": "2"}


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


def test_a_key_can_be_a_feature(trainable):
    trainable.problem(key_features=["customer_id"])
    train(trainable.repo, QUICK)
    feature = served(trainable).features[0]
    assert (feature.name, feature.kind) == ("customer_id", "categorical")
    assert set(feature.categories) <= set(range(61))


def test_without_a_training_set_it_says_what_to_do(trainable):
    shutil.rmtree(trainable.repo.layout.dataset)
    with pytest.raises(NoData) as caught:
        train(trainable.repo, QUICK)
    assert "dataset" in caught.value.hint


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
    from tests.training.test_model import ROOT

    assert TrainParams.load(ROOT / "params.yaml").seed == 7
    assert TrainParams.load(ROOT / "no_such.yaml") == TrainParams()
