"""`punctual replay`: let the weeks go by, and see what becomes of the model."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from cli import context, services
from core.places import Name
from core.problem import parse_duration
from core.progress import console
from core.repo import FeatureRepo
from core.settings import get_settings
from core.stages import stage_environment

_NEEDED: tuple[Name, ...] = ("training", "prediction")
_DAY = timedelta(days=1)


def _duration(text: str) -> timedelta:
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from error
    if not duration:
        raise typer.BadParameter("it must be longer than nothing.")
    return duration


def replay(
    since: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day, UTC.")],
    until: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day, UTC, included.")],
    step: Annotated[
        timedelta | None, typer.Option(parser=_duration, metavar="2h", help="How far the clock moves at once.")
    ] = None,
    every: Annotated[
        timedelta | None, typer.Option(parser=_duration, metavar="1d", help="Between two turns of monitoring.")
    ] = None,
    copy_to: Annotated[
        Path | None, typer.Option(help="Work on a copy of the feature repo there; the original's clock stays.")
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Only write the report of what was done so far.")] = False,
) -> None:
    """Let time go by on the replay clock, from the first day to the last, and report what came of it.

    Predicts what falls due through the prediction service, takes in labels as they become known, and lets monitoring
    take its turn each day: drift, alarms, retraining, promotion, rollback. Ends with `data/replay/<days>/report.html`.

    The services it needs are started unless they run. Stopped or killed anywhere, the same command goes on from there.
    The clock of the feature repo moves with it: use `--copy-to` to keep the original where it is.
    """
    from core.client import PredictionClient
    from monitoring.replay import Replay, plan
    from monitoring.replay_report import write_report

    repo = _copy(copy_to) if copy_to else context.repo()
    settings = context.settings()
    chosen = plan(repo, since.replace(tzinfo=UTC), until.replace(tzinfo=UTC) + _DAY, step=step, every=every)
    if not report:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the blocks below clean up
        context.first_start(settings, repo)
        with ExitStack() as stack:
            stack.enter_context(context.online_store(repo, own=copy_to is not None))
            missing = list(_NEEDED) if copy_to else [n for n in _NEEDED if not services.answers(settings, n)]
            services.check_ports(settings, missing)
            started = stack.enter_context(services.running(_environment(repo), missing))
            services.wait_until_ready(settings, started)
            client = stack.enter_context(closing(PredictionClient.local(settings, repo.layout)))
            Replay(repo, settings, chosen, client).run()
    path, found = write_report(repo, settings, chosen)
    for words in found["words"]:
        console.print(words, markup=False)
    typer.echo(path)


def _environment(repo: FeatureRepo) -> dict[str, str]:
    # A line a request would bury the progress that this command is watched for.
    return {"PUNCTUAL_LOG_LEVEL": "WARNING", **stage_environment(repo)}


def _copy(folder: Path) -> FeatureRepo:
    """Make the copy, unless it is there, and let this process and those it starts work on it."""
    from monitoring.replay_copy import copy_repo

    repo = copy_repo(context.repo(), context.settings(), folder)
    os.environ["PUNCTUAL_FEATURE_REPO"] = str(repo.layout.repo)
    get_settings.cache_clear()
    return repo
