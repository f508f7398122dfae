"""Commands on models: the training set, training, promotion, and predictions with where they came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import context
from core.errors import InvalidRequest
from core.progress import console

if TYPE_CHECKING:
    from core.notify import Message
    from core.tables import Promotion
    from training.promotion import Promotions


def dataset() -> None:
    """Build the training set: the spine's rows with the features that were known at each row's moment."""
    from training.dataset import build_dataset

    manifest = build_dataset(context.repo())
    console.print(
        f"{manifest['rows']:,} rows, {len(manifest['columns'])} columns, data version {manifest['data_version']}, "
        f"snapshot {manifest['sha256'][:16]}"
    )


def train(
    promote: Annotated[
        bool,
        typer.Option(
            help="Let the gate promote the new model if it deserves it.", envvar="PUNCTUAL_PROMOTE", show_envvar=False
        ),
    ] = True,
    params: Annotated[Path, typer.Option(help="Parameters of the candidates.")] = Path("params.yaml"),
    candidate: Annotated[list[str] | None, typer.Option(help="Train this one instead; may be repeated.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter for this run: catboost.depth=8; may be repeated.")
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="Learn from moments from here on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Learn from moments before this (UTC).")] = None,
    job: Annotated[str | None, typer.Option(envvar="PUNCTUAL_JOB", hidden=True)] = None,
) -> None:
    """Train the candidates on the training set, register the best one, and promote it if the gate says so.

    Rows are split by time, never at random. The gate compares with the champion on the same test rows. A run with
    other candidates, parameters or rows is recorded in MLflow, and leaves DVC's metrics alone.
    """
    from core.notify import Notifier
    from training.overrides import Overrides, parse_settings
    from training.params import TrainParams
    from training.train import train as run

    # A job tells by itself. What is wrong with the settings is told before anything is made.
    notifier = Notifier(context.settings()) if job is None else None

    overrides = Overrides.checked(candidates=candidate, params=parse_settings(override or []), since=since, until=until)
    outcome = run(context.repo(), TrainParams.load(params), promote=promote, overrides=overrides, job=job)
    shown = ", ".join(
        f"{name} {outcome.metrics[name]:.4f}" for name in ("auc", "average_precision", "brier", "log_loss")
    )
    console.print(f"Version {outcome.version}: {outcome.candidate}. On the test rows: {shown}.")
    for reason in outcome.verdict.reasons:
        console.print(f"  {reason}")
    console.print("Promoted to champion." if outcome.promoted else "Not promoted.")
    if notifier is not None and (message := _message_of_training(outcome.version)) is not None:
        notifier.send(message)


def promote(
    version: Annotated[str, typer.Argument(help="A registered version.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")] = "by hand",
) -> None:
    """Make a registered version the champion; the champion before it becomes `previous`.

    A running prediction service takes it up by itself.
    """
    with _promotions() as promotions:
        row = promotions.promote(version, [reason], actor=context.actor())
        console.print(f"Version {row.version} is the champion.")


def rollback(reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")] = "by hand") -> None:
    """Make the previous champion the champion again."""
    with _promotions() as promotions:
        row = promotions.rollback([reason], actor=context.actor())
        console.print(f"Version {row.version} is the champion again.")


def compare(
    a: Annotated[str, typer.Argument(help="A registered version.")],
    b: Annotated[str, typer.Argument(help="The version to hold against it.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the report here as one HTML page.")
    ] = None,
) -> None:
    """Compare two versions on the same test rows, as JSON, or as a page with plots (`-o report.html`)."""
    from core.files import atomic_path
    from training.compare import compare as run
    from training.compare_page import page
    from training.registry import Registry

    repo = context.repo()
    found = run(repo, Registry(repo), a, b)
    if output is None:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    with atomic_path(output) as temporary:
        temporary.write_text(page(found), encoding="utf-8")
    console.print(f"Wrote {output}.")


def _message_of_training(version: str) -> Message | None:
    from core.database import database
    from training.ledger import Ledger
    from training.promotion_messages import message_of_training

    repo = context.repo()
    return message_of_training(Ledger(database(repo, context.settings()), repo.problem.name), version)


@contextmanager
def _promotions() -> Iterator[Promotions]:
    """Open the promotions, and tell people of what was moved once that is done and said."""
    from core.database import database
    from core.notify import Notifier
    from training.promotion import Promotions
    from training.promotion_messages import message_of
    from training.registry import Registry

    repo, settings = context.repo(), context.settings()
    notifier = Notifier(settings)  # what is wrong with the settings is told before anything is moved
    moved: list[Promotion] = []
    yield Promotions(Registry(repo, settings), database(repo, settings), settings.promotion_approvals, moved.append)
    for row in moved:
        notifier.send(message_of(row))


def predict(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of the entity that problem.yaml names.")] = None,
    entities: Annotated[str | None, typer.Option(help="JSON list of entities instead, keys and inputs.")] = None,
) -> None:
    """Ask the running prediction service, and print its answer as JSON.

    Example: `punctual predict 20131001-UA1545-EWR`
    """
    from core.client import PredictionClient

    asked = _entities(ids, entities)
    client = PredictionClient.local(context.settings(), context.repo().layout)
    answer = client.http.call("POST", "/predict", json={"entities": asked}).json()
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def lineage(
    prediction_id: Annotated[str, typer.Argument(help="As /predict returned it.")],
) -> None:
    """Trace a prediction: what the model saw, which model, trained on what, from which raw data."""
    from serving.lineage import find

    found = find(context.repo().layout, prediction_id)
    typer.echo(json.dumps(found, indent=2, default=str, ensure_ascii=False))


def _entities(ids: list[str] | None, text: str | None) -> list[Any]:
    if bool(ids) == bool(text):
        raise typer.BadParameter("Give ids, or --entities with a JSON list.")
    if text:
        try:
            given = json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidRequest(f"--entities is not JSON: {error}.") from error
        if not isinstance(given, list):
            raise InvalidRequest("--entities must be a JSON list of objects.")
        return given
    from stores.registry import open_store, problem_entity

    repo = context.repo()
    entity = problem_entity(repo, open_store(repo))
    if entity.value_type.name in ("INT64", "INT32"):
        wrong = [i for i in ids or [] if not i.lstrip("-").isdigit()]
        if wrong:
            raise InvalidRequest(f"{entity.join_key} is a whole number, not {wrong[0]!r}.")
        return [{entity.join_key: int(i)} for i in ids or []]
    return [{entity.join_key: i} for i in ids or []]
