"""From nothing to a prediction with one command, on a feature repo that is not the reference one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pandas as pd
import pytest
import redis

from core.files import read_secret
from core.layout import Layout
from core.places import PORTS
from tests.cli.conftest import ROOT, Shell, assert_one_clear_line, shell_for
from tests.conftest import free_port

pytestmark = [pytest.mark.slow, pytest.mark.alone]

SERVICE_PORTS = [f"PUNCTUAL_{setting.upper()}" for setting in (*PORTS.values(), "dashboard_port")]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Give the loans repo after `up`, with one prediction made."""
    repo = tmp_path_factory.mktemp("up") / "loans"
    shutil.copytree(ROOT / "tests/repos/loans", repo, ignore=shutil.ignore_patterns("data", "__pycache__"))
    shell = shell_for(repo)
    done = shell.run("up", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    (prediction,) = json.loads(done.stdout.strip().splitlines()[-1])["predictions"]
    assert prediction["class"] in ("missed", "paid")
    assert prediction["model_version"] == "1"
    return shell


def listens(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def serving(shell: Shell) -> tuple[subprocess.Popen[str], str]:
    process = shell.start("up")
    url = f"http://127.0.0.1:{shell.environment['PUNCTUAL_PORT']}"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        try:
            if httpx.get(f"{url}/health", timeout=2).status_code == httpx.codes.OK:
                return process, url
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("not ready")


def until_said(process: subprocess.Popen[str], word: str) -> str:
    """Return what a command has said up to the line that holds a word."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if word in line:
            return said
    raise AssertionError(f"It ended without {word!r}: {said}")


def test_nothing_is_left_running(shell):
    assert not listens(shell.environment["PUNCTUAL_REDIS"])
    for name in SERVICE_PORTS:
        assert not listens(f"127.0.0.1:{shell.environment[name]}")


def test_served_predictions_can_be_traced_and_ctrl_c_stops_all(shell):
    process, _ = serving(shell)
    try:
        asked = shell.run("predict", "3000", "3001")
        assert asked.returncode == 0, asked.stderr
        found = json.loads(asked.stdout)["predictions"]
        assert [p["loan_id"] for p in found] == [3000, 3001]
        unknown = shell.run("predict", "999999")
        assert_one_clear_line(unknown, 1, "999999")
        assert shell.run("doctor").returncode == 0
        assert "Dashboard" in until_said(process, "Ctrl-C")
        url = f"http://127.0.0.1:{shell.environment['PUNCTUAL_DASHBOARD_PORT']}"
        page = httpx.get(url, headers={"accept": "text/html"}, follow_redirects=True)
        assert "password" in page.text
        host, port = shell.environment["PUNCTUAL_REDIS"].split(":")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(host, int(port), retry=None).ping()
        with redis.Redis(host, int(port), password=read_secret(Layout(shell.repo).store_secret)) as store:
            assert list(store.scan_iter("punctual:limit*")), "limits are counted there"
        skew = shell.run("check", "skew")
        assert skew.returncode == 0, skew.stdout + skew.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(240)
    assert not listens(shell.environment["PUNCTUAL_REDIS"])
    assert not listens(f"127.0.0.1:{shell.environment['PUNCTUAL_PORT']}")
    traced = json.loads(shell.run("lineage", found[0]["prediction_id"]).stdout)
    assert traced["lineage"]["model_version"] == "1"
    manifest = json.loads((shell.repo / "data/dataset/manifest.json").read_text())
    assert traced["lineage"]["snapshot"] == manifest["sha256"]
    assert traced["lineage"]["data_version"] == manifest["data_version"]
    assert set(traced["features"]) >= {"payments_30d", "amount_thousands"}


def test_what_was_written_is_its_owner_s_alone(shell):
    data = shell.repo / "data"
    made = [path for path in (data, *data.rglob("*")) if path.name != "pyfunc.py"]  # a copy of our code, by MLflow
    assert [str(path) for path in made if path.lstat().st_mode & 0o077] == []


def test_killed_its_services_stop_by_themselves_and_the_next_up_takes_over(shell):
    process, _ = serving(shell)
    process.kill()
    process.wait()
    ports = [shell.environment[name] for name in SERVICE_PORTS]
    deadline = time.monotonic() + 60
    while left := [port for port in ports if listens(f"127.0.0.1:{port}")]:
        assert time.monotonic() < deadline, f"{left} are still taken"
        time.sleep(0.1)
    done = shell.run("up", "--check")
    assert done.returncode == 0, done.stderr
    assert not listens(shell.environment["PUNCTUAL_REDIS"])


def test_the_next_window_moves_the_clock_and_reaches_the_online_store(shell):
    for words in (("fetch",), ("validate",), ("transform",)):
        done = shell.run(*words)
        assert done.returncode == 0, done.stderr
    done = shell.run("up", "--check")
    assert done.returncode == 0, done.stderr


def test_historical_features_of_a_file(shell, tmp_path):
    rows = pd.DataFrame({"loan_id": [3000, 3000, 1], "customer_id": [3, 3, 4], "amount": [100.0, 200.0, 1.0]})
    rows["event_timestamp"] = ["2024-02-01T00:00:00Z", "2023-01-01T00:00:00Z", "2024-02-20"]
    rows.to_csv(tmp_path / "in.csv", index=False)
    out: Path = tmp_path / "out.parquet"
    done = shell.run("features", str(tmp_path / "in.csv"), "-o", str(out))
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(out)
    assert table["amount_thousands"].tolist() == [0.1, 0.2, 0.001]
    assert pd.isna(table["region"][1])  # nothing was known in 2023
    assert table["region"][0] in ("north", "south", "west")


def test_no_leakage_and_a_leak_is_found(shell, tmp_path):
    assert shell.run("check", "leakage").returncode == 0
    leaky = tmp_path / "leaky"
    shutil.copytree(shell.repo, leaky, ignore=shutil.ignore_patterns("run", "mlflow.db"))
    sql = leaky / "sql" / "customer_payments.sql"
    sql.write_text(sql.read_text().replace("known_at AS event_timestamp", "due_at - INTERVAL 1 DAY AS event_timestamp"))
    done = shell.run("check", "leakage", PUNCTUAL_FEATURE_REPO=str(leaky))
    assert_one_clear_line(done, 3, "know the future")
    assert "customer_payments" in done.stderr


def test_plain_feast_reads_what_was_written(shell):
    code = (
        "from feast import FeatureStore; store = FeatureStore(repo_path='.'); "
        "print(store.get_historical_features(entity_df=__import__('pandas').DataFrame({'loan_id': [3000], "
        "'event_timestamp': ['2024-02-15']}).astype({'event_timestamp': 'datetime64[us, UTC]'}), "
        "features=['loan_terms:region']).to_df()['region'][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=shell.repo, env=os.environ | shell.environment, capture_output=True, text=True
    )
    assert done.stdout.strip() in ("north", "south", "west"), done.stderr


def test_feast_s_own_pages_show_the_repo(shell):
    port = free_port()
    feast = str(Path(sys.executable).with_name("feast"))
    command = [feast, "-c", str(shell.repo), "ui", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        command, env=shell.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 180
        while True:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            try:
                page = httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.2)
        assert page.status_code == httpx.codes.OK
        views = httpx.get(
            f"http://127.0.0.1:{port}/api/v1/feature_views", params={"project": "loans"}, timeout=10
        ).json()
        assert "customer_payments" in {view["spec"]["name"] for view in views["featureViews"]}
    finally:
        process.terminate()
        process.wait(120)
