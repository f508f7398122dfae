"""The commands that the documentation shows, run as shown: only ids, ports and folders are those of the test."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT
from tests.services.conftest import SERVICES, Machine, as_json

pytestmark = pytest.mark.slow

PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
# Starts a server, installs, or belongs to the reference repo alone: tried elsewhere, or by the gate itself.
_ELSEWHERE = (
    "make ",
    "source ",
    "mlflow ui",
    "feast ",
    "dvc ",
    "punctual up",
    "punctual serve",
    "punctual dashboard",
    "punctual replay",
    "pre-commit",
    "git ",
)
_SHOWN_PORTS = {"prediction": "8000", "data": "8001", "training": "8002", "monitoring": "8003"}


def commands(page: str) -> Iterator[str]:
    """Give the commands of a page's code blocks; a line that ends in a backslash goes on in the next."""
    for block in re.findall(
        r"^```(?:sh|bash|console)?\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL
    ):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+#.*$", "", line.removeprefix("$ ").strip())
            if re.match(r"(punctual|curl|python -m) ", command) and not command.startswith(_ELSEWHERE):
                yield command


CASES = [pytest.param(page, command, id=f"{page}: {command[:60]}") for page in PAGES for command in commands(page)]


@pytest.fixture(scope="module")
def values(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give what stands for what the documentation shows."""
    answer = machine.call("prediction", "POST", "/predict", "predict", json={"entities": [{"loan_id": 3000}]})
    assert answer.status_code == 200, answer.text
    folder = tmp_path_factory.mktemp("docs")
    (folder / "entities.csv").write_text(
        "loan_id,customer_id,amount,event_timestamp\n3000,3,100.0,2024-02-01T00:00:00Z\n"
    )
    (folder / "ids.csv").write_text("loan_id\n3000\n3001\n")
    (folder / "ids.parquet").write_bytes(b"")
    key = as_json(machine.call("data", "POST", "/keys", json={"name": "docs", "scopes": ["read"]}))
    return {
        "folder": str(folder),
        "prediction": answer.json()["predictions"][0]["prediction_id"],
        "key": key["id"],
        "admin": machine.keys["admin"],
    }


@pytest.mark.parametrize(("page", "command"), CASES)
def test_a_command_of_the_documentation_works(machine: Machine, values: dict[str, str], page: str, command: str):
    text = command
    for service, port in _SHOWN_PORTS.items():
        text = text.replace(f":{port}", f":{machine.shell.environment[SERVICES[service]]}")
    text = text.replace('"flight_id":"20131001-AA1-JFK"', '"loan_id":3000').replace("20131001-AA1-JFK", "3000")
    for shown, here in (("table=departures", "table=loans"), ("dep_delay", "amount"), ("tailnum", "amount")):
        text = text.replace(shown, here)
    text = text.replace("feature_repo/", f"{machine.shell.repo}/")
    text = re.sub(r"<prediction[ _-]id>", values["prediction"], text).replace("0123456789ab", values["key"])
    text = (
        re.sub(r"<key[ _-]id>", values["key"], text)
        .replace("<admin key>", values["admin"])
        .replace("<key>", values["admin"])
    )
    assert "<" not in re.sub(r"<<|[0-9]?<\(|' ?<", "", text), (
        f"{page}: {command} has a placeholder that the test does not know"
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=values["folder"],
        env={**machine.shell.environment, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{page}: {command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    if shlex.split(text)[0] == "curl":
        assert '"status":4' not in done.stdout, done.stdout
        assert '"status":5' not in done.stdout, done.stdout
