"""Commands on the flow: everything from the next window to a reloaded champion, as one durable job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli import context
from core.progress import console

if TYPE_CHECKING:
    from core.client import DataClient

flow_app = typer.Typer(no_args_is_help=True, help="Run everything from import to a reloaded champion, and undo it.")


@flow_app.command("run")
def run(
    wait: Annotated[bool, typer.Option(help="Wait until it is over; it goes on by itself if you do not.")] = True,
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key twice starts one flow, not two.")
    ] = None,
) -> None:
    """Ask the data service to run the flow: import, validate, preprocess, materialize, train, gate, promote, reload.

    A step that fails leaves the last good state serving. The command can be stopped: the flow goes on.
    """
    client = _client()
    job = client.run_flow(idempotency_key=key)
    console.print(f"The flow is job {job.id}.")
    if not wait:
        return
    job = context.followed(client, job, "The flow")
    typer.echo(json.dumps(job.result, indent=2, default=str, ensure_ascii=False))


@flow_app.command("runs")
def runs() -> None:
    """List the runs of the flow, newest first: who, when, with which data, and what came of it."""
    typer.echo(json.dumps(_client().http.call("GET", "/flow/runs").json(), indent=2, ensure_ascii=False))


@flow_app.command("rollback")
def rollback(
    reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")] = "by hand",
    expected: Annotated[
        str | None, typer.Option(help="The champion that is to go; nothing is done where it is another by now.")
    ] = None,
) -> None:
    """Let the previous champion serve again.

    Asked twice, it undoes itself: with --expected you can ask again where you do not know whether it was done.
    """
    answer = _client().http.call("POST", "/flow/rollback", json={"reason": reason, "expected": expected})
    typer.echo(json.dumps(answer.json(), indent=2, ensure_ascii=False))


def _client() -> DataClient:
    from core.client import DataClient

    return DataClient.local(context.settings(), context.repo().layout)
