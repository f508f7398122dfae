"""A job service to try: small jobs, in this process or in one of its own that can be killed.

``python -m tests.core.jobs.world <repo>`` launches it, prints a line when it is up and whether it leads, and stays.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import SourceError
from core.jobs import Job, Jobs, Work, run_stage
from core.repo import FeatureRepo
from core.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 120  # of a machine that does much else; what comes about is not waited for


def loans_copy(folder: Path) -> FeatureRepo:
    shutil.copytree(ROOT / "tests/repos/loans", folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    return FeatureRepo.load(folder)


def make_jobs(
    repo: FeatureRepo,
    database: str | None = None,
    *,
    concurrency: int = 1,
    on_cancel: Callable[[str], None] | None = None,
    on_retry: Callable[[str], None] | None = None,
    on_give_up: Callable[[str], None] | None = None,
) -> Jobs:
    """Return jobs that are not launched yet; a file named like a gate lets them pass."""
    jobs = Jobs("data", repo=repo, settings=Settings(database=database))
    jobs.queue("data", concurrency=concurrency)
    gates = repo.layout.data / "gates"

    def shell(work: Work, arguments: dict[str, Any]) -> Any:
        return work.step("run", lambda: run_stage(work, ["sh", "-c", arguments["script"]]))

    def three(work: Work, arguments: dict[str, Any]) -> list[str]:
        """Three steps, each a process that notes that it ran and then waits for its gate."""

        def step(name: str) -> str:
            script = f'echo {name} >> "$0"; until test -e "$1/{name}"; do sleep 0.05; done'
            run_stage(work, ["sh", "-c", script, str(repo.layout.data / "ran"), str(gates)])
            return name

        return [work.step(name, lambda name=name: step(name)) for name in ("one", "two", "three")]

    def shaky(work: Work, arguments: dict[str, Any]) -> int:
        """Fails as often as it is told, over all attempts."""
        count = repo.layout.data / "count"

        def step() -> int:
            tries = int(count.read_text()) + 1 if count.is_file() else 1
            count.write_text(str(tries))
            if tries <= arguments["failures"]:
                raise SourceError(f"try {tries}", hint="password=hunter2")
            return tries

        work.step("first", lambda: None)
        return work.step("second", step, attempts=arguments.get("attempts", 1), pause=0.01)

    def broken(work: Work, arguments: dict[str, Any]) -> None:
        work.step("run", lambda: {}["missing"])

    jobs.register("shell", shell, steps=("run",), queue="data")
    jobs.register(
        "three",
        three,
        steps=("one", "two", "three"),
        queue="data",
        on_cancel=on_cancel,
        on_retry=on_retry,
        on_give_up=on_give_up,
    )
    jobs.register("shaky", shaky, steps=("first", "second"), queue="data")
    jobs.register("broken", broken, steps=("run",), queue="data")
    return jobs


def open_gate(repo: FeatureRepo, name: str) -> None:
    gate = repo.layout.data / "gates" / name
    gate.parent.mkdir(exist_ok=True)
    gate.touch()


def ran(repo: FeatureRepo) -> list[str]:
    path = repo.layout.data / "ran"
    return path.read_text().split() if path.is_file() else []


def until(condition: Callable[[], Any], what: str = "it") -> Any:
    """Wait until a condition holds; return what it gave."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come about within {PATIENCE} s")


def finished(jobs: Jobs, job: Job) -> Job:
    until(lambda: jobs.get(job.id).over, f"{job.id} being over")
    return jobs.get(job.id)


def alive(pattern: str, environment: str = "") -> list[int]:
    """Return the processes whose command line holds a pattern, and whose environment a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
                around = (entry / "environ").read_bytes().decode(errors="replace") if environment else ""
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if pattern in line and environment in around and state != "Z":
                found.append(int(entry.name))
    return found


def serve(repo: FeatureRepo, database: str | None = None) -> subprocess.Popen[str]:
    """Start the service in a process of its own and wait until it is up."""
    command = [sys.executable, "-m", "tests.core.jobs.world", str(repo.layout.repo), *([database] if database else [])]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "up"
    return process


def main() -> None:
    jobs = make_jobs(FeatureRepo.load(Path(sys.argv[1])), sys.argv[2] if len(sys.argv) > 2 else None)
    jobs.launch()
    print("up", flush=True)  # noqa: T201 - the test reads it
    signal.sigwait([signal.SIGTERM])
    jobs.close()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    main()
