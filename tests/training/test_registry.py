"""The registry: roles, lineage, and local copies that are what the registry says they are."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from core.errors import ModelUnavailable, NotFound
from tests.training.loans import OTHER, QUICK, promotions
from training.dataset import build_dataset, read_dataset
from training.evaluate import scores
from training.registry import CHAMPION, Registry
from training.train import train


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
    for tags in (version.tags, run.data.tags, loans.served().metadata):
        assert expected.items() <= tags.items()
    assert loans.served().metadata["run_id"] == version.run_id
    assert registry.aliases() == {CHAMPION: outcome.version}


def test_any_mlflow_tool_loads_it_and_gets_the_same(trained):
    import mlflow

    loans, _ = trained
    Registry(loans.repo)
    model = mlflow.pyfunc.load_model("models:/loans@champion")
    columns, _ = loans.test_rows()
    names = [f.name for f in loans.served().features]
    frame = pd.DataFrame({n: columns[n] for n in names})
    frame = frame.astype({n: "float64" for n in names if n != "region"})  # MLflow has no other gaps in numbers
    frame.loc[::7, ["hour", "amount_thousands"]] = None
    columns |= {n: [None if v != v else v for v in frame[n]] for n in ("hour", "amount_thousands")}
    assert frame.isna().any().any()
    np.testing.assert_allclose(model.predict(frame), loans.served().predict_proba(columns))
    assert model.metadata.signature.inputs.input_names() == names
    assert len(model.predict(model.input_example)) > 0


@pytest.mark.parametrize("version", ["99", "latest", "", "../1", "0", "01", "٣", "1 or 1=1", "9" * 40])
def test_a_version_that_is_not_there_is_named_and_changes_nothing(trained, version):
    loans, outcome = trained
    before = sorted(loans.repo.layout.models.rglob("*"))
    with pytest.raises(NotFound) as caught:
        promotions(loans).promote(version, [], actor="ann")
    assert caught.value.hint
    assert loans.pointer() == {"name": "loans", "version": outcome.version}
    assert Registry(loans.repo).version_of(CHAMPION) == outcome.version
    assert sorted(loans.repo.layout.models.rglob("*")) == before


def test_a_lost_or_spoilt_local_copy_comes_back_with_the_next_training(trainable):
    train(trainable.repo, QUICK)
    copy = trainable.repo.layout.models / "1"
    shutil.rmtree(copy)
    Registry(trainable.repo).follow()
    assert trainable.served().version == "1"
    estimator = next(p for p in copy.iterdir() if p.suffix != ".json")
    estimator.write_bytes(estimator.read_bytes()[:-9])
    with pytest.raises(ModelUnavailable):
        trainable.served()
    promotions(trainable).promote("1", ["again"], actor="ann")
    assert trainable.served().version == "1"


def test_with_a_new_mlflow_an_old_local_copy_of_the_same_number_is_not_taken_for_the_new_model(trainable, with_dataset):
    train(trainable.repo, QUICK)
    data = trainable.repo.layout.data
    shutil.copy(with_dataset / "data" / "mlflow.db", data / "mlflow.db")
    shutil.rmtree(data / "mlartifacts")
    outcome = train(trainable.repo, OTHER)
    assert (outcome.version, outcome.verdict.passed) == ("1", True)
    columns, y = trainable.test_rows()
    model = trainable.served()
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
    assert trainable.served().version == "2"


def test_a_champion_whose_features_are_gone_is_replaced_and_the_reason_says_so(trainable):
    train(trainable.repo, QUICK)
    definitions = trainable.folder / "definitions.py"
    definitions.write_text(definitions.read_text().replace("customer_payments, amount_scaled]", "customer_payments]"))
    from stores.registry import apply

    apply(trainable.repo)
    build_dataset(trainable.repo)
    outcome = train(trainable.repo, QUICK)
    assert any("amount_thousands" in reason for reason in outcome.verdict.reasons)
    assert trainable.pointer() == {"name": "loans", "version": "2"}
