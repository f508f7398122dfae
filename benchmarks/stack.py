"""The prediction service and its rivals as processes, on a copy of a feature repo that is built already."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import httpx

from core.files import read_secret
from core.repo import FeatureRepo
from core.settings import get_settings
from stores.embedded import EmbeddedServer
from stores.examples import recent_entities
from stores.registry import open_store
from stores.writer import materialize

_READY_SECONDS = 120
_LEFT_BEHIND = (
    "run",
    "predictions",
    "shadow",
    "spool",
    "jobs",
    "mlartifacts",
    "valid",
    "dataset",
    "secrets",
    "*.db-*",
    "jobs-*",
)


def free_port() -> int:
    """Return a port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A server in a process of its own.

    Attributes
    ----------
    ready_seconds : float
        From its start until it answered.
    key : str
        What to show it, empty where it asks for nothing.
    """

    process: subprocess.Popen[bytes]
    url: str
    ready_seconds: float
    key: str = ""

    def workers(self) -> list[int]:
        """Return the processes that answer requests: its children, or itself."""
        children = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and self._is_worker(p)]
        return children or [self.process.pid]

    def megabytes(self) -> list[int]:
        """Return the resident memory of each worker."""
        return [_resident(pid) for pid in self.workers()]

    def _is_worker(self, path: Path) -> bool:
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            command = (path / "cmdline").read_bytes()
        except OSError:  # it has gone meanwhile
            return False
        # Beside the workers run the helper of multiprocessing, and what predicts by the file.
        return parent == self.process.pid and not any(w in command for w in (b"resource_tracker", b"batch_worker"))


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


class Stack:
    """A copy of the configured feature repo, its features in a Valkey of its own.

    Attributes
    ----------
    ids : list of dict
        Entities to ask for.
    pid : int
        The store's process, which may be killed.
    """

    def __init__(self, folder: Path) -> None:
        source = get_settings().feature_repo.resolve()
        if not (source / "data" / "models" / "champion.json").is_file():
            raise SystemExit(f"{source} has no champion to measure with. Run: punctual up --check")
        self.folder = folder / "repo"
        shutil.copytree(source, self.folder, ignore=shutil.ignore_patterns("__pycache__", *_LEFT_BEHIND))
        self.log = (folder / "servers.log").open("wb")
        self.store = EmbeddedServer(folder / "run", "127.0.0.1", free_port())
        self.ids: list[dict[str, Any]] = []
        self.pid = 0

    def start(self) -> None:
        """Start the store, or start it again after it was killed."""
        self.pid = self.store.start().pid

    def __enter__(self) -> Self:
        os.environ["PUNCTUAL_REDIS"] = f"127.0.0.1:{self.store.port}"
        os.environ["PUNCTUAL_FEATURE_REPO"] = str(self.folder)
        get_settings.cache_clear()
        self.start()
        repo = FeatureRepo.load(self.folder)
        materialize(open_store(repo), now=repo.clock.now())
        self.ids = recent_entities(repo, 5_000)
        return self

    def __exit__(self, *_: object) -> None:
        self.store.stop()
        self.log.close()

    @contextmanager
    def ours(self, workers: int = 1, **settings: str) -> Iterator[Server]:
        """Run the prediction service: keys, limits, log and all."""
        port = free_port()
        environment = {
            "PUNCTUAL_PORT": str(port),
            "PUNCTUAL_WORKERS": str(workers),
            # They are counted, and not what is measured.
            "PUNCTUAL_RATE_LIMIT_KEY": "1000000000/minute",
            "PUNCTUAL_RATE_LIMIT_ADDRESS": "1000000000/minute",
            **settings,
        }
        command = [sys.executable, "-m", "cli.main", "serve", "prediction"]
        with _server(command, port, "/health", environment, self.log) as server:
            server.key = read_secret(self.folder / "data" / "secrets" / "client.key") or ""
            yield server

    @contextmanager
    def bare(self) -> Iterator[Server]:
        """Run a FastAPI route that does nothing, on the same server in the same configuration."""
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "benchmarks.bare:app", "--no-access-log", "--log-level", "error"]
        with _server([*command, "--ws", "none", "--port", str(port)], port, "/health", {}, self.log) as server:
            yield server

    @contextmanager
    def feast(self) -> Iterator[Server]:
        """Run stock ``feast serve`` on the same features, with Feast's own Redis store."""
        port = free_port()
        stock = self.folder.parent / "stock"
        shutil.copytree(self.folder, stock, ignore=shutil.ignore_patterns("raw", "features"), dirs_exist_ok=True)
        config = stock / "feature_store.yaml"
        text = config.read_text().replace("type: stores.online.BulkRedisOnlineStore", "type: redis")
        config.write_text(f"{text.rstrip()}\n  connection_string: 127.0.0.1:{self.store.port}\n")
        command = [str(Path(sys.executable).with_name("feast")), "-c", str(stock), "serve", "--no-access-log"]
        # By itself it starts its worker anew every 1,000 requests.
        command += ["--port", str(port), "--max-requests", "1000000000"]
        with _server(command, port, "/health", {}, self.log) as server:
            yield server


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    """Give the stack, in a folder that is thrown away; its servers end with us, also when we are asked to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as exits:
        yield exits.enter_context(Stack(folder))


@contextmanager
def _server(
    command: list[str], port: int, health: str, environment: dict[str, str], log: IO[bytes]
) -> Iterator[Server]:
    url = f"http://127.0.0.1:{port}"
    start = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True)
    try:
        while not _answers(url + health):
            if process.poll() is not None or time.perf_counter() - start > _READY_SECONDS:
                raise SystemExit(f"{' '.join(command)} did not start; its lines are in {log.name}.")
            time.sleep(0.02)  # the deadline bounds the wait
        yield Server(process, url, time.perf_counter() - start)
    finally:
        process.terminate()
        try:
            process.wait(45)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
