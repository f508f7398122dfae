"""A copy is a repo of its own: nothing that happens to it happens to the original."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.files import write_json
from core.settings import Settings
from monitoring.replay_copy import copy_repo
from tests.ingestion.loans import Loans, ingest, window

pytestmark = pytest.mark.slow

SETTINGS = Settings(_env_file=None)


@pytest.fixture
def loans(tmp_path: Path) -> Loans:
    """Give loans with a window taken in, and the traces of processes and MLflow."""
    loans = ingest(Loans.copy_to(tmp_path / "loans"), window(0, 3))
    layout = loans.repo.layout
    for left in ("run/valkey.pid", "jobs/x/log", "replay/20240104-20240105/plan.json"):
        write_json(layout.data / left, {})
    for database in ("punctual.db", "jobs-data.db", "mlflow.db"):
        with closing(sqlite3.connect(layout.data / database)) as con, con:
            con.execute("CREATE TABLE experiments (name TEXT, artifact_location TEXT)")
            con.execute("INSERT INTO experiments VALUES ('ours', ?)", (layout.mlflow_artifacts.as_uri() + "/1",))
            con.execute("INSERT INTO experiments VALUES ('elsewhere', 's3://bucket/1')")
    return loans


def places(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as con:
        return [str(row[0]) for row in con.execute("SELECT artifact_location FROM experiments ORDER BY name DESC")]


def test_time_goes_by_in_the_copy_alone(loans, tmp_path):
    before = loans.files()
    copy = copy_repo(loans.repo, SETTINGS, tmp_path / "copy")
    ingest(Loans(copy.layout.repo), window(3, 5))
    assert copy.clock.now() > loans.repo.clock.now()
    assert loans.files() == before


def test_what_the_original_s_processes_keep_is_left_behind(loans, tmp_path):
    copy = copy_repo(loans.repo, SETTINGS, tmp_path / "copy").layout
    there = {path.name for path in copy.data.iterdir()}
    assert {"raw", "valid", "features", "punctual.db", "mlflow.db"} <= there
    assert there.isdisjoint({"run", "jobs", "replay", "jobs-data.db"})
    assert (copy.data / "registry.json").read_text() == (loans.repo.layout.data / "registry.json").read_text()


def test_mlflow_writes_into_the_copy(loans, tmp_path):
    copy = copy_repo(loans.repo, SETTINGS, tmp_path / "copy").layout
    assert places(copy.data / "mlflow.db") == [copy.mlflow_artifacts.as_uri() + "/1", "s3://bucket/1"]
    assert places(loans.repo.layout.data / "mlflow.db")[0] == loans.repo.layout.mlflow_artifacts.as_uri() + "/1"


def test_parquet_takes_no_room(loans, tmp_path):
    copy = copy_repo(loans.repo, SETTINGS, tmp_path / "copy").layout
    for path in copy.raw.rglob("*.parquet"):
        assert path.samefile(loans.repo.layout.raw / path.relative_to(copy.raw))


def test_a_copy_that_is_there_is_gone_on_with(loans, tmp_path):
    first = copy_repo(loans.repo, SETTINGS, tmp_path / "copy")
    ingest(Loans(first.layout.repo), window(3, 5))
    assert copy_repo(loans.repo, SETTINGS, tmp_path / "copy").clock.now() == first.clock.now()


def test_what_would_be_shared_or_spoilt_is_refused(loans, tmp_path):
    (tmp_path / "full").mkdir()
    for folder, words in ((tmp_path / "full", "no feature repo"), (loans.folder / "data" / "copy", "lies inside")):
        with pytest.raises(ConfigError, match=words):
            copy_repo(loans.repo, SETTINGS, folder)
    shared = Settings(_env_file=None, mlflow_uri="http://mlflow:5000")
    with pytest.raises(ConfigError, match="PUNCTUAL_MLFLOW_URI"):
        copy_repo(loans.repo, shared, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
