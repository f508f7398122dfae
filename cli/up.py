"""`punctual up`: from nothing to a served prediction, and everything it started stopped again at the end."""

from __future__ import annotations

import json
import signal
import sys
from typing import Annotated

import typer

from cli import context, pipeline, services
from core.errors import DatabaseUnavailable
from core.files import read_secret
from core.places import PORTS, Name, here, service_url
from core.progress import console
from core.repo import FeatureRepo
from core.settings import Settings
from core.stages import stage_environment

_SHOWN: dict[Name, str] = {
    "prediction": "Predictions",
    "data": "Data",
    "training": "Training",
    "monitoring": "Monitoring",
}
_SERVED = {
    "data": "ingestion.service:build_app",
    "training": "training.service:build_app",
    "monitoring": "monitoring.service:build_app",
}


def up(
    check: Annotated[
        bool, typer.Option("--check", help="Bring everything up, ask for one prediction, and stop again.")
    ] = False,
    dashboard: Annotated[bool, typer.Option(help="Whether to run the dashboard too.")] = True,
) -> None:
    """Do what is left to do, from fetching to a promoted model, and run services and dashboard until Ctrl-C.

    A second `up` finds the work done and starts in seconds. Ports: `PUNCTUAL_PORT` (predictions), `PUNCTUAL_DATA_PORT`,
    `PUNCTUAL_TRAINING_PORT`, `PUNCTUAL_MONITORING_PORT`, `PUNCTUAL_DASHBOARD_PORT` and `PUNCTUAL_REDIS` (online store;
    the embedded server starts there if nothing listens).
    The first start makes the user `admin` and shows its password, this once.
    """
    settings, repo = context.settings(), context.repo()
    parts: list[services.Part] = [*PORTS]
    if dashboard and not check:
        parts.append("dashboard")
    services.check_ports(settings, parts)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the blocks below clean up
    password = context.first_start(settings, repo)
    with context.online_store(repo):
        pipeline.run(settings, repo)
        example = context.example_entity(repo)
        with services.running(stage_environment(), parts) as started:
            services.wait_until_ready(settings, started)
            if check:
                _ask(settings, repo, example)
                return
            _announce(settings, repo, example, password, dashboard=dashboard)
            services.watch(started)


def serve(
    service: Annotated[Name, typer.Argument(help="Which one.")] = "prediction",
) -> None:
    """Run one service on what is there already: nothing is fetched, trained, or started beside it."""
    settings, repo = context.settings(), context.repo()
    try:
        context.first_start(settings, repo)
    except DatabaseUnavailable as error:
        if service != "prediction":
            raise
        console.print(f"{error} Predictions are refused until it does.", soft_wrap=True, markup=False)
    if service == "prediction":
        from serving.server import run

        run(repo, settings)
        return
    from core.server import run as serve_app

    serve_app(_SERVED[service], repo, settings, name=service, setting=PORTS[service])


def _curl(settings: Settings, repo: FeatureRepo, example: dict[str, object]) -> str:
    body = json.dumps({"entities": [example]}, default=str)
    key = f"$(cat {repo.layout.secrets / 'client.key'})"
    url = service_url(settings, "prediction")
    trusted = f" --cacert {settings.tls_cert}" if settings.tls_cert else ""
    return f"curl{trusted} -X POST {url}/predict -H \"Authorization: Bearer {key}\" -d '{body}'"


def _ask(settings: Settings, repo: FeatureRepo, example: dict[str, object]) -> None:
    from core.client import PredictionClient

    key = read_secret(repo.layout.secrets / "client.key")
    client = PredictionClient.local(settings, repo.layout, key=key)
    answer = client.http.call("POST", "/predict", json={"entities": [example]})
    console.print(_curl(settings, repo, example), soft_wrap=True, markup=False)
    typer.echo(answer.body.decode())


def _announce(
    settings: Settings, repo: FeatureRepo, example: dict[str, object], password: str | None, *, dashboard: bool
) -> None:
    lines = [
        "",
        f"[bold]{repo.problem.title or repo.problem.name}[/bold]  (it is {repo.clock.now():%Y-%m-%d %H:%M} UTC here)",
        *(f"  {words:<13} {service_url(settings, name)}/docs" for name, words in _SHOWN.items()),
        *([f"  Dashboard     {here(settings, settings.dashboard_port)}"] if dashboard else []),
        f"  Experiments   mlflow ui --backend-store-uri {settings.mlflow_uri or repo.layout.mlflow_uri}",
        f"  Features      feast -c {repo.layout.repo} ui --host 127.0.0.1",
        f"  Keys          punctual keys --help; this machine's own are in {repo.layout.secrets}",
    ]
    if password:
        lines.append(f"  First log-in  user admin, password {password}  (shown this once; change it)")
    console.print("\n".join([*lines, "", "Try:"]), soft_wrap=True)
    typer.echo(f"  {_curl(settings, repo, example)}")
    console.print("\nCtrl-C stops everything that this command started.")
