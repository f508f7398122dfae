"""The page and the artifacts, by the real Evidently and a real MLflow."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from core.registry import RegistryReader
from monitoring.drift import check_drift
from monitoring.drift_reports import list_reports, read_report, report_file
from tests.monitoring import drift_world
from tests.monitoring.drift_world import START, WEEK, window
from tests.monitoring.log_world import LogWorld

pytestmark = pytest.mark.slow

# What a browser would fetch by itself; addresses in code and namespaces are not fetched.
FETCHED = re.compile(
    r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import""", re.IGNORECASE
)


@pytest.fixture
def world(log_world: LogWorld) -> LogWorld:
    shutil.rmtree(log_world.repo.layout.models, ignore_errors=True)
    drift_world.install(log_world.repo.layout.models)
    return log_world


def markup(html: str) -> str:
    """Return a page without the text of its scripts."""
    return re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)


def test_the_page_says_the_verdict_and_needs_no_network(world):
    towns = ["<b>harbour</b>"] * 300 + drift_world.traffic(1500, 1)["town"].to_pylist()[300:]
    drift_world.serve(world, window(town=towns, noise=pa.nulls(1500, pa.float64())))
    report = check_drift(world.repo, START, START + WEEK)
    path = report_file(world.repo, report.id, "html")
    html = path.read_text()
    assert path.stat().st_size < 10_000_000
    assert list_reports(world.repo)[0]["has_page"] is True
    assert not FETCHED.findall(markup(html))
    assert "<h1>Drift: model version 1, 2024-03-01 00:00 to 2024-03-08 00:00 UTC</h1>" in html
    for reason in report.reasons:
        assert reason.replace("<", "&lt;").replace(">", "&gt;") in html
    assert "<b>harbour</b> (20" not in html  # what clients send is no markup
    drawn = re.sub(r"<section.*</section>", "", html, flags=re.DOTALL)
    for name in ("amount", "waiting", "count", "town", "predicted probability"):
        assert f'"{name}"' in drawn
    assert "Dataset Drift is" not in html  # one verdict on a page


def test_a_second_page_in_the_same_process_is_of_its_own_window(world):
    drift_world.serve(world, window(600))
    drift_world.serve(world, window(600, amount=[7.5] * 600), since=START + WEEK)
    calm, loud = (check_drift(world.repo, START + n * WEEK, START + (n + 1) * WEEK) for n in (0, 1))
    pages = [report_file(world.repo, r.id, "html").read_text() for r in (calm, loud)]
    assert [page.count("stands still at 7.5") > 0 for page in pages] == [False, True]
    assert ["Drift is detected for 0.0%" in page for page in pages] == [True, False]


def test_without_predictions_the_page_is_words_alone(world):
    report = check_drift(world.repo, START, START + WEEK)
    html = report_file(world.repo, report.id, "html").read_text()
    assert "Too few rows: model version 1" in html
    assert len(html) < 5000


def test_reports_lie_beside_the_run_and_mlflow_may_be_away(
    world: LogWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from core.settings import Settings

    drift_world.serve(world, window(600))
    there = Settings(feature_repo=world.folder, mlflow_uri=f"sqlite:///{tmp_path}/mlflow.db")
    registry = RegistryReader(world.repo, there)
    experiment = registry.client.create_experiment("loans", (tmp_path / "artifacts").as_uri())
    run = registry.client.create_run(experiment).info.run_id
    name_run(world, run)
    report = check_drift(world.repo, START, START + WEEK, settings=there)
    got = registry.client.download_artifacts(run, f"drift/{report.id}", str(tmp_path))
    assert json.loads((Path(got) / "report.json").read_text()) == read_report(world.repo, report.id)
    page = (Path(got) / "report.html").read_text()
    assert page == report_file(world.repo, report.id, "html").read_text()
    assert "<h1>No drift: model version 1" in page
    assert not any("alone" in note for note in report.notes)

    name_run(world, "0" * 32)
    report = check_drift(world.repo, START, START + WEEK, settings=there, page=False)
    assert "Kept on this machine alone" in report.notes[-1]

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    name_run(world, "1" * 32)  # MLflow remembers where the files of runs go that it has met
    away = Settings(feature_repo=world.folder, mlflow_uri="http://127.0.0.1:1")
    report = check_drift(world.repo, START, START + WEEK, settings=away, page=False)
    assert "Kept on this machine alone: MLflow at http://127.0.0.1:1 fails" in report.notes[-1]
    assert read_report(world.repo, report.id)["verdict"] == "no drift"


def name_run(world: LogWorld, run: str) -> None:
    """Say in the reference which run the model version is of."""
    reference = drift_world.reference()
    type(reference)({**reference.profile, "run_id": run}, reference.sample).save(world.repo.layout.models / "1")
