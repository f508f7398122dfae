"""Everything as processes: the loans' services, each of which a test may kill, and the dashboard before them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from core.auth import Accounts
from core.model import PredictionModel
from tests.cli.conftest import ROOT
from tests.conftest import free_port
from tests.core.auth.conftest import PASSWORD
from tests.core.keys import accounts_of
from tests.serving import world as worlds
from tests.serving.test_reload import champion
from tests.serving.world import World, settings_of
from training.candidates import logistic
from training.dataset import read_dataset
from training.params import TrainParams

if TYPE_CHECKING:
    from playwright.sync_api import Page

SERVICES = {
    "data": "PUNCTUAL_DATA_PORT",
    "training": "PUNCTUAL_TRAINING_PORT",
    "prediction": "PUNCTUAL_PORT",
    "monitoring": "PUNCTUAL_MONITORING_PORT",
}
_READY_SECONDS = 300


@dataclass
class Stack:
    """The processes.

    Attributes
    ----------
    world : World
        The feature repo, its features online, a champion that can be explained.
    accounts : Accounts
        What the data service keeps, from behind.
    """

    world: World
    accounts: Accounts
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['PUNCTUAL_DASHBOARD_PORT']}"

    def start(self, *names: str) -> None:
        """Start services, or the dashboard, all at once, and wait until they answer."""
        for name in names:
            words = ["dashboard"] if name == "dashboard" else ["serve", name]
            with Path(f"{self.world.folder}-{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "cli.main", *words],
                    cwd=ROOT,
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        deadline = time.monotonic() + _READY_SECONDS
        for name in names:
            port = self.environment[SERVICES.get(name, "PUNCTUAL_DASHBOARD_PORT")]
            path = "/_stcore/health" if name == "dashboard" else "/health/live"
            while not _answers(f"http://127.0.0.1:{port}{path}"):
                assert self.processes[name].poll() is None, f"the {name} process stopped by itself"
                assert time.monotonic() < deadline, f"the {name} process does not answer"
                time.sleep(0.1)

    def kill(self, name: str) -> None:
        """Kill a process and what it started, as a machine that fails does."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)

    def stop(self) -> None:
        """Stop everything."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        self.world.server.stop()


def build(folder: Path) -> Stack:
    """Bring up the loans, with nothing running yet."""
    world = worlds.build(folder)
    _explainable(world)
    ports = {name: str(free_port()) for name in (*SERVICES.values(), "PUNCTUAL_DASHBOARD_PORT")}
    environment = (
        os.environ
        | ports
        | {
            "PUNCTUAL_FEATURE_REPO": str(folder),
            "PUNCTUAL_RATE_LIMIT_LOGIN": "1000/minute",
            "PUNCTUAL_SHADOW_SHARE": "0",
        }
    )
    return Stack(world, accounts_of(world.repo, settings_of(world.repo)), environment)


@contextmanager
def in_use(stack: Stack, *services: str) -> Iterator[None]:
    """Run services of a stack that has an administrator, ada, and a user, bo."""
    try:
        for name, role in (("ada", "admin"), ("bo", "user")):
            stack.accounts.users.add(name, role, PASSWORD, by="tests")
        stack.start(*services)
        yield
    finally:
        stack.stop()


def log_in(page: Page, stack: Stack, user: str, password: str = PASSWORD, at: str = "/") -> None:
    page.goto(stack.url + at)
    page.get_by_label("User").fill(user)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")


def _explainable(world: World) -> None:
    """Let a model serve whose predictions can be taken apart."""
    table, _ = read_dataset(world.repo)
    rows: dict[str, Any] = table.to_pydict()
    model: PredictionModel = world.model
    label = [int(one) for one in rows[world.repo.problem.label.column]]
    model.estimator = logistic(model.features, TrainParams()).fit(model.matrix(rows), label)
    model.metadata["version"] = "2"
    model.save(world.repo.layout.models / "2")
    champion(world, "2")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
