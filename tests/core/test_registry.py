"""The read side of the registry against a real MLflow server that is killed and comes back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core.errors import ModelUnavailable, NotFound, ServiceUnavailable
from core.model import Feature, PredictionModel
from core.registry import RegistryReader, point, pointed_version
from core.registry_sync import RegistrySync
from core.repo import FeatureRepo
from core.settings import Settings, get_settings
from tests.conftest import free_port
from tests.mlflow_server import MlflowServer, eventually

LOANS = Path(__file__).resolve().parents[1] / "repos" / "loans"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    get_settings()
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def repo(tmp_path: Path) -> FeatureRepo:
    shutil.copytree(LOANS, tmp_path / "loans", ignore=shutil.ignore_patterns("data", "__pycache__"))
    return FeatureRepo.load(tmp_path / "loans")


def publish(server: MlflowServer, share: float, folder: Path) -> str:
    """Register a version from elsewhere, as a training service on another machine would."""
    import mlflow
    from sklearn.dummy import DummyClassifier

    client = mlflow.MlflowClient(server.uri, server.uri)
    found = client.get_experiment_by_name("loans")
    experiment = found.experiment_id if found else client.create_experiment("loans")
    run = client.create_run(experiment)
    ones = round(share * 100)
    estimator = DummyClassifier(strategy="prior").fit([[0]] * 100, [1] * ones + [0] * (100 - ones))
    model = PredictionModel(
        features=[Feature("age", "numeric")],
        estimator=estimator,
        calibration=(np.array([0.0, 1.0]), np.array([0.0, 1.0])),
        threshold=0.5,
        classes=("no", "yes"),
        metadata={"run_id": run.info.run_id},
    )
    model.save(folder / "model")
    client.log_artifacts(run.info.run_id, str(folder / "model"), "model/artifacts/model")
    if not client.search_registered_models("name = 'loans'"):
        client.create_registered_model("loans")
    version = client.create_model_version("loans", f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_terminated(run.info.run_id)
    return str(version.version)


@pytest.mark.slow
def test_a_new_champion_elsewhere_is_fetched_and_an_outage_changes_nothing(server, repo, tmp_path, caplog):
    import mlflow

    settings = Settings(mlflow_uri=server.uri, model_poll=0.1)
    client = mlflow.MlflowClient(server.uri, server.uri)
    first = publish(server, 0.1, tmp_path / "first")
    second = publish(server, 0.9, tmp_path / "second")
    client.set_registered_model_alias("loans", "champion", first)
    client.set_registered_model_alias("loans", "challenger", second)
    layout = repo.layout
    sync = RegistrySync(repo, settings, least=0.1)
    sync.start()
    try:
        eventually(lambda: pointed_version(layout, "champion") == first)
        eventually(lambda: pointed_version(layout, "challenger") == second)
        model = PredictionModel.load(layout.models / first)
        assert model.predict_proba({"age": [1]}) == pytest.approx([0.1])
        assert model.version == first

        server.kill()
        eventually(lambda: "cannot be followed" in caplog.text)
        assert pointed_version(layout, "champion") == first
        assert PredictionModel.load(layout.models / first).version == first

        server.start()
        client.set_registered_model_alias("loans", "champion", second)
        client.delete_registered_model_alias("loans", "challenger")
        eventually(lambda: pointed_version(layout, "champion") == second)
        eventually(lambda: pointed_version(layout, "challenger") is None)
        assert PredictionModel.load(layout.models / second).predict_proba({"age": [1]}) == pytest.approx([0.9])
        assert caplog.text.count("cannot be followed") == 1, "it is logged once an outage"
        assert caplog.text.count("answers again") == 1
    finally:
        sync.close()


@pytest.mark.slow
def test_a_version_that_cannot_be_fetched_moves_no_pointer(server, repo, tmp_path):
    import mlflow

    client = mlflow.MlflowClient(server.uri, server.uri)
    good, bad = publish(server, 0.2, tmp_path / "good"), publish(server, 0.3, tmp_path / "bad")
    run = client.get_model_version("loans", bad).run_id
    shutil.rmtree(next((server.folder / "artifacts").glob(f"*/{run}")))
    client.set_registered_model_alias("loans", "champion", good)
    client.delete_registered_model_alias("loans", "challenger")
    sync = RegistrySync(repo, Settings(mlflow_uri=server.uri))
    assert sync.look() is True
    assert sync.look() is False
    client.set_registered_model_alias("loans", "champion", bad)
    with pytest.raises((ModelUnavailable, ServiceUnavailable)):
        sync.look()
    assert pointed_version(repo.layout, "champion") == good
    assert not (repo.layout.models / bad).exists()


@pytest.mark.slow
def test_a_copy_of_another_registrys_version_of_the_same_number_is_fetched_anew(server, repo, tmp_path):
    reader = RegistryReader(repo, Settings(mlflow_uri=server.uri))
    version = publish(server, 0.4, tmp_path / "model")
    reader.ensure(version)
    header = repo.layout.models / version / "model.json"
    header.write_text(header.read_text().replace(reader.version(version)["run_id"], "of-another-mlflow"))
    assert reader.load(version).predict_proba({"age": [1]}) == pytest.approx([0.4])
    assert reader.version(version)["run_id"] in header.read_text()
    with pytest.raises(NotFound, match="has no version '99'"):
        reader.load("99")


@pytest.mark.slow
def test_a_version_that_several_want_at_once_is_fetched_for_all(server, repo, tmp_path):
    version = publish(server, 0.3, tmp_path / "model")
    readers = [RegistryReader(repo, Settings(mlflow_uri=server.uri)) for _ in range(3)]
    for reader in readers:
        reader.aliases()  # they are ready to begin at once
    with ThreadPoolExecutor(len(readers)) as pool:
        for model in pool.map(lambda reader: reader.load(version), readers):
            assert model.predict_proba({"age": [1]}) == pytest.approx([0.3])
    assert sorted(path.name for path in repo.layout.models.iterdir()) == [f".{version}.lock", version]


def test_an_mlflow_that_is_away_is_named_without_its_password(repo):
    reader = RegistryReader(repo, Settings(mlflow_uri=f"http://anna:secret@127.0.0.1:{free_port()}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(ServiceUnavailable) as caught:
            reader.aliases()
    assert "MLflow" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_without_a_remote_registry_nothing_is_followed(repo):
    sync = RegistrySync(repo, Settings())
    sync.start()
    assert sync._thread is None
    sync.close()


def test_a_pointer_is_written_when_it_changes_and_removed(repo):
    layout = repo.layout
    assert pointed_version(layout, "champion") is None
    point(layout, "loans", "champion", "3")
    before = (layout.models / "champion.json").stat()
    point(layout, "loans", "champion", "3")
    assert (layout.models / "champion.json").stat().st_ino == before.st_ino
    point(layout, "loans", "champion", "4")
    assert pointed_version(layout, "champion") == "4"
    (layout.models / "champion.json").write_text("{")
    with pytest.raises(ModelUnavailable):
        pointed_version(layout, "champion")
    point(layout, "loans", "champion", None)
    point(layout, "loans", "champion", None)
    assert pointed_version(layout, "champion") is None
