"""What the services do is what their API references say, tried with generated requests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.conftest import SERVICES, Machine

pytestmark = pytest.mark.slow

# Generated requests must not start trainings and flows again and again, or end the accounts that they come from.
_LEFT_OUT = (
    r"/flow/(run|rollback)$|/training/(train|rollback)$|/data/(import|validate|apply|preprocess|materialize|dataset)$"
    r"|/monitoring/run$|/auth/logout|/keys/|/users/|/(retry|cancel)$|/(promote|approve)$"
)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_keeps_to_its_reference(machine: Machine, service: str, tmp_path: Path):
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={Path(__file__).with_name('schemathesis.toml')}",
            "--no-color",
            "run",
            f"{machine.url(service)}/openapi.json",
            f"--url={machine.url(service)}",
            f"--header=Authorization: Bearer {machine.keys['admin']}",
            f"--exclude-path-regex={_LEFT_OUT}",
            "--max-examples=20",
            "--seed=1",
            "--request-timeout=30",
            "--exclude-checks=unsupported_method",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
