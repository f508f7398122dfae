"""`punctual up`: from nothing to a served prediction, and everything it started stopped again at the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import httpx
import typer

from cli import context, pipeline
from core.errors import PunctualError
from core.progress import console, progress
from core.repo import FeatureRepo
from core.settings import Settings

_START_SECONDS = 60
_STOP_SECONDS = 15


def up(
    check: Annotated[
        bool, typer.Option("--check", help="Bring everything up, ask for one prediction, and stop again.")
    ] = False,
) -> None:
    """Do what is left to do, from fetching to a promoted model, and serve predictions until Ctrl-C.

    A second `up` finds the work done and starts in seconds. Ports: `PUNCTUAL_PORT` (API) and `PUNCTUAL_REDIS`
    (online store; the embedded server starts there if nothing listens).
    """
    from serving.server import check_port

    settings, repo = context.settings(), context.repo()
    check_port(settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the blocks below clean up
    with context.online_store(repo):
        pipeline.run(settings, repo)
        example = context.example_entity(repo)
        with _prediction_service(settings) as service:
            _wait_until_ready(settings, service)
            if check:
                _ask(settings, example)
                return
            _announce(settings, repo, example)
            service.wait()
            raise PunctualError(
                f"The prediction service stopped by itself (exit code {service.returncode}).",
                hint="The lines above say why.",
            )


def serve() -> None:
    """Serve predictions from what is there already: nothing is fetched, trained, or started beside it."""
    from serving.server import run

    repo, settings = context.repo(), context.settings()
    run(repo, settings)


@contextmanager
def _prediction_service(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    # Its own session: Ctrl-C reaches us alone, and we stop it in order, so that its log is flushed.
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "serve"], env=pipeline.stage_environment(), start_new_session=True
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            console.print(f"The prediction service did not stop within {_STOP_SECONDS} s and was killed.")


def _wait_until_ready(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with progress("Starting the prediction service"):
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise PunctualError(
                    f"The prediction service stopped while starting (exit code {process.returncode}).",
                    hint="The lines above say why.",
                )
            try:
                if httpx.get(f"{_url(settings)}/health", timeout=2).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet; the deadline bounds the wait
            time.sleep(0.1)
    raise PunctualError(f"The prediction service was not ready within {_START_SECONDS} s.")


def _url(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.port}"


def _curl(settings: Settings, example: dict[str, object]) -> str:
    body = json.dumps({"entities": [example]}, default=str)
    return f"curl -X POST {_url(settings)}/predict -d '{body}'"


def _ask(settings: Settings, example: dict[str, object]) -> None:
    answer = httpx.post(f"{_url(settings)}/predict", json={"entities": [example]}, timeout=10)
    console.print(_curl(settings, example), soft_wrap=True, markup=False)
    typer.echo(answer.text)
    if answer.status_code != httpx.codes.OK:
        raise PunctualError(f"The prediction was answered with {answer.status_code}.")


def _announce(settings: Settings, repo: FeatureRepo, example: dict[str, object]) -> None:
    mlflow_uri = settings.mlflow_uri or repo.layout.mlflow_uri
    lines = [
        "",
        f"[bold]{repo.problem.title or repo.problem.name}[/bold]  (it is {repo.clock.now():%Y-%m-%d %H:%M} UTC here)",
        f"  Predictions   {_url(settings)}/predict",
        f"  API reference {_url(settings)}/docs",
        f"  Health        {_url(settings)}/health",
        f"  Experiments   mlflow ui --backend-store-uri {mlflow_uri}",
        f"  Features      feast -c {repo.layout.repo} ui",
        "",
        "Try:",
    ]
    console.print("\n".join(lines), soft_wrap=True)
    typer.echo(f"  {_curl(settings, example)}")
    console.print("\nCtrl-C stops everything that this command started.")
