"""What the services do is what their API references say, tried with generated requests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.conftest import SERVICES, Machine

pytestmark = pytest.mark.slow

# Each good request here is a process of seconds or minutes that fills a core: hundreds of them are a queue of hours.
# So they are left out, and tried with bad requests, and with good ones where a start costs nothing:
# tests/ingestion/test_service_fuzz.py, tests/training/test_service_fuzz.py, which try every route on Postgres too.
_STARTS = r"/flow/run$|/training/train$|/monitoring/run$|/data/(import|validate|apply|preprocess|materialize|dataset)$"
# It learns ids from answers, so it would revoke the key that it comes with, and be refused from there on. Alone with
# these routes it knows no id.
_KEYS = r"/keys/\{key_id\}"


def schemathesis(machine: Machine, service: str, folder: Path, *options: str) -> None:
    """Let Schemathesis try a service as an administrator; fail with what it says."""
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={Path(__file__).with_name('schemathesis.toml')}",
            "--no-color",
            "run",
            f"{machine.url(service)}/openapi.json",
            f"--url={machine.url(service)}",
            f"--header=Authorization: Bearer {machine.keys['admin']}",
            "--max-examples=20",
            "--seed=1",
            "--request-timeout=30",
            "--exclude-checks=unsupported_method",
            *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    still = machine.call(service, "GET", "/metrics")
    assert still.status_code == 200, f"it was refused for want of a good key: {still.text}"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_keeps_to_its_reference(machine: Machine, service: str, tmp_path: Path):
    schemathesis(machine, service, tmp_path, f"--exclude-path-regex={_STARTS}|{_KEYS}")


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "prediction"])
def test_what_starts_a_job_refuses_a_bad_request(machine: Machine, service: str, tmp_path: Path):
    # What is bad is now and then a header that nobody looks at: the ten jobs that then start end with the machine.
    schemathesis(machine, service, tmp_path, f"--include-path-regex={_STARTS}", "--mode=negative", "--phases=fuzzing")


def test_keys_that_nobody_has_are_no_trouble(machine: Machine, tmp_path: Path):
    schemathesis(machine, "data", tmp_path, f"--include-path-regex={_KEYS}")
