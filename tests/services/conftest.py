"""The services as processes, brought up by the command on a feature repo that is not the reference one."""

from __future__ import annotations

import json
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.repo import FeatureRepo
from core.settings import Settings
from tests.cli.conftest import ROOT, Shell, shell_for
from tests.conftest import DATABASES, own_database
from tests.contract import Contract
from tests.core.keys import Keyring, keyring

SERVICES = {
    "prediction": "PUNCTUAL_PORT",
    "data": "PUNCTUAL_DATA_PORT",
    "training": "PUNCTUAL_TRAINING_PORT",
    "monitoring": "PUNCTUAL_MONITORING_PORT",
}
_READY_SECONDS = 420
_TLS = ssl.create_default_context()  # never used, but a client that is not given one makes it: longer than a request


@dataclass
class Machine:
    """A machine on which `punctual up` runs.

    Attributes
    ----------
    shell : Shell
        Its settings.
    keys : Keyring
        A key a scope.
    """

    shell: Shell
    keys: Keyring
    process: subprocess.Popen[str]

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.shell.environment[SERVICES[service]]}"

    def call(self, service: str, method: str, path: str, key: str | None = "admin", **options: Any) -> httpx.Response:
        """Call a service with the key of a scope, or with none; a good answer must be what its reference says."""
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers.setdefault("authorization", f"Bearer {self.keys.by_scope.get(key, key)}")
        url = self.url(service) + path
        answer = httpx.request(method, url, headers=headers, timeout=30, verify=_TLS, **options)
        if path != "/openapi.json":
            self.contracts[service].check(answer)
        return answer

    @cached_property
    def contracts(self) -> dict[str, Contract]:
        return {name: Contract(document) for name, document in self.documents.items()}

    @cached_property
    def documents(self) -> dict[str, Any]:
        """The OpenAPI document of each service."""
        return {name: self.call(name, "GET", "/openapi.json", None).json() for name in SERVICES}

    def operations(self) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """Give service, method, path and description of every operation there is."""
        for service, document in self.documents.items():
            for path, methods in document["paths"].items():
                for method, operation in methods.items():
                    yield service, method.upper(), path, operation


@contextmanager
def brought_up(repo: Path, database: str | None = None) -> Iterator[Machine]:
    """Run the command on a copy of the loans, with the services' database on SQLite or where ``database`` says."""
    shutil.copytree(ROOT / "tests/repos/loans", repo, ignore=shutil.ignore_patterns("data", "__pycache__"))
    shell = shell_for(repo)
    shell.environment |= {
        # Tests come from addresses of their own, as through the dashboard, and log in more often than people do.
        "PUNCTUAL_TRUSTED_PROXIES": '["127.0.0.1"]',
        "PUNCTUAL_RATE_LIMIT_LOGIN": "6000/minute",
        **({"PUNCTUAL_DATABASE": database} if database else {}),
    }
    log = Path(f"{repo}.log")
    with log.open("w") as file:
        process = subprocess.Popen(
            shell.command("up"), cwd=ROOT, env=shell.environment, stdout=file, stderr=subprocess.STDOUT, text=True
        )
    try:
        deadline = time.monotonic() + _READY_SECONDS
        waiting = list(SERVICES.values())
        while waiting:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                answer = httpx.get(f"http://127.0.0.1:{shell.environment[waiting[0]]}/health", timeout=5)
                if answer.status_code == httpx.codes.OK:
                    waiting.pop(0)
                    continue
            except httpx.TransportError:
                pass  # not listening yet; the deadline bounds the wait
            time.sleep(0.2)
        made = Machine(shell, keyring(FeatureRepo.load(repo), Settings(database=database)), process)
        for service in SERVICES:  # each hears of new keys within a moment
            while made.call(service, "GET", "/metrics").status_code == httpx.codes.UNAUTHORIZED:
                assert time.monotonic() < deadline, f"the {service} service does not know the keys"
                time.sleep(0.05)
        yield made
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(240)


@pytest.fixture(scope="package")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Give the machine whose services keep what they know in SQLite."""
    with brought_up(tmp_path_factory.mktemp("services") / "loans") as made:
        yield made


@pytest.fixture(scope="package")
def machine_on_postgres(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Machine]:
    """Give another one, whose services keep it in a real Postgres."""
    with own_database(postgres_server) as url:
        with brought_up(tmp_path_factory.mktemp("on-postgres") / "loans", url) as made:
            yield made


@pytest.fixture(params=DATABASES)
def either(request: pytest.FixtureRequest) -> Machine:
    """Give one and the other: for what the database may answer differently."""
    return request.getfixturevalue("machine_on_postgres" if request.param == "postgres" else "machine")


def as_json(answer: httpx.Response) -> Any:
    return json.loads(answer.text)
