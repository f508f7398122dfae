"""`punctual monitor`: what the monitoring service watches, found and decided."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from cli import context
from core.errors import InvalidRequest
from core.progress import console
from core.windows import as_utc

if TYPE_CHECKING:
    from core.client import MonitoringClient

monitor_app = typer.Typer(
    no_args_is_help=True,
    help="""Watch the model: truth, drift, freshness, skew, alarms, retraining.

A **turn** looks at a window, raises and clears alarms, and decides whether to train again or to roll back;
docs/retraining.md has the rules. With `PUNCTUAL_MONITOR_SCHEDULE` the monitoring service takes turns by itself.""",
)
_JSON = Annotated[bool, typer.Option("--json", help="Everything, as JSON.")]
_LIMIT = Annotated[int, typer.Option(help="At most so many.")]


@monitor_app.command("run")
def run(
    since: Annotated[
        datetime | None, typer.Option(help="Begin of the window (UTC); default: a step before its end.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="Its end, exclusive; default: now, on the problem's clock.")
    ] = None,
    act: Annotated[
        bool, typer.Option(help="Let it retrain, promote and roll back; or look and raise alarms alone.")
    ] = True,
    wait: Annotated[bool, typer.Option(help="Wait until it is over; it goes on by itself if you do not.")] = True,
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key twice takes one turn, not two.")
    ] = None,
) -> None:
    """Ask the monitoring service for a turn, and show what it found and decided.

    The same window again finds what it decided. Example: `punctual monitor run --until 2013-10-08 --no-act`
    """
    bounds = {name: as_utc(m).isoformat() for name, m in (("since", since), ("until", until)) if m is not None}
    client = _client()
    job = client.run({**bounds, "act": act}, idempotency_key=key)
    console.print(f"The turn is job {job.id}.")
    if not wait:
        return
    job = context.followed(client, job, "The turn")
    _tell(job.result)


@monitor_app.command("status")
def status(as_json: _JSON = False) -> None:
    """Say what the last turn found, which alarms are open, and what was decided last."""
    client = _client()
    turns, alarms = client.turns(1), client.alarms("open")
    if as_json:
        _print({"turn": turns[0] if turns else None, "alarms": alarms})
        return
    if not turns:
        console.print("No turn was taken yet. Run: punctual monitor run")
        return
    _tell(turns[0])
    _rows(alarms, ("id", "opened_at", "kind", "subject", "words"), "No alarm is open.")


@monitor_app.command("alarms")
def alarms(
    open_: Annotated[bool, typer.Option("--open", help="Only those that are open.")] = False,
    acknowledge: Annotated[int | None, typer.Option(help="Say that you have seen the alarm of this id.")] = None,
    limit: _LIMIT = 20,
    as_json: _JSON = False,
) -> None:
    """List alarms, newest first, or acknowledge one."""
    client = _client()
    found = [client.acknowledge(acknowledge)] if acknowledge else client.alarms("open" if open_ else None, limit)
    if as_json:
        _print(found)
        return
    _rows(found, ("id", "state", "opened_at", "cleared_at", "kind", "subject", "words"), "There are no alarms.")


@monitor_app.command("reports")
def reports(
    save: Annotated[str | None, typer.Option(help="Download the page of the report of this id.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write it.")] = None,
    limit: _LIMIT = 20,
    as_json: _JSON = False,
) -> None:
    """List drift reports, newest first, or download one (`--save <id> -o drift.html`)."""
    from core.files import atomic_path

    client = _client()
    if save:
        path = output or Path(f"drift-{save}.html")
        content = client.report_file(save, "html")
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        console.print(f"Wrote {path}.")
        return
    found = client.reports(limit)
    if as_json:
        _print(found)
        return
    _rows(found, ("id", "since", "until", "model_version", "rows", "verdict"), "There are no drift reports yet.")


@monitor_app.command("decisions")
def decisions(limit: _LIMIT = 20, as_json: _JSON = False) -> None:
    """List what was decided on retraining and rollback, why, and what came of it, newest first."""
    found = _client().decisions(limit)
    if as_json:
        _print(found)
        return
    for row in found:
        row["reasons"] = "; ".join(row["reasons"])
    _rows(found, ("at", "action", "outcome", "champion", "version", "reasons"), "Nothing was decided yet.")


@monitor_app.command("tidy")
def tidy() -> None:
    """Merge the prediction log's small parts of days that are over, and remove what is older than is kept.

    The monitoring service does this every night. How long: `PUNCTUAL_KEEP_LOG_DAYS`, `PUNCTUAL_KEEP_PAGES_DAYS`.
    """
    from monitoring.tidy import tidy as run_tidy

    done = run_tidy(context.repo(), context.settings())
    console.print(
        f"Merged {done['merged']:,} parts, deleted {done['deleted']:,} that others hold, "
        f"removed {done['days']:,} days of the log and {done['pages']:,} pages of drift reports."
    )


@monitor_app.command("task", hidden=True)
def task(name: str, arguments: str, output: Path) -> None:
    """Run one heavy part of a turn in this process, and write what it found; monitoring jobs call this."""
    from core.files import write_json
    from monitoring.tasks import run as run_task

    try:
        given = dict(json.loads(arguments))
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"The arguments are no JSON object: {error}.") from error
    write_json(output, run_task(context.repo(), context.settings(), name, given))


def _client() -> MonitoringClient:
    from core.client import MonitoringClient

    return MonitoringClient.local(context.settings(), context.repo().layout)


def _tell(found: dict[str, Any]) -> None:
    """Show a turn in short."""
    looks = {"truth": _truth, "drift": _drift, "freshness": _freshness, "skew": _skew}
    lines = {name: found[name].get("error") or words(found[name]) for name, words in looks.items()}
    lines["alarms"] = f"{found['alarms']['open']} open, {len(found['alarms']['opened'])} new"
    for row in filter(None, (found["rollback"], found["decision"])):
        lines[row["action"]] = f"{row['outcome']}: {'; '.join(row['reasons'])}"
    console.print(f"{found['since'][:16]} to {found['until'][:16]} UTC, version {found['model_version'] or 'none'}")
    for name, words in lines.items():
        console.print(f"  {name:<9} {words}", markup=False, soft_wrap=True, highlight=False)


def _truth(look: dict[str, Any]) -> str:
    return f"{look['labelled']:,} labelled, {look['waiting']:,} wait for their label"


def _drift(look: dict[str, Any]) -> str:
    return f"{look['verdict']}: {' '.join(look['reasons'])}"


def _freshness(look: dict[str, Any]) -> str:
    late = [view["view"] for view in look["views"] if not view["fresh"]]
    return f"older than promised: {', '.join(late)}" if late else f"{len(look['views'])} views, as fresh as promised"


def _skew(look: dict[str, Any]) -> str:
    if not look["rows"]:
        return "nothing to rebuild: no prediction of this window was logged"
    differ = ", ".join(f"{feature} in {count:,}" for feature, count in look["unexplained"].items())
    return f"{look['rows']:,} logged vectors rebuilt" + (f"; other values of {differ}" if differ else ", all the same")


def _print(found: Any) -> None:
    typer.echo(json.dumps(found, indent=2, default=str, ensure_ascii=False))


def _rows(rows: list[dict[str, Any]], columns: tuple[str, ...], nothing: str) -> None:
    if not rows:
        console.print(nothing)
        return
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in columns))
    console.print(table)


def _cell(value: Any) -> str:
    from rich.markup import escape

    text = "" if value is None else str(value)
    return escape(text[:16].replace("T", " ") if text[10:11] == "T" and text[4:5] == "-" else text)
