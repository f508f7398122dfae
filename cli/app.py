"""The `punctual` command: one app, assembled from the groups beside this file."""

from __future__ import annotations

import os
import sys

import typer

from cli import accounts, checks, dashboard, data, flow, model, monitoring, replay, status, up
from core import interrupts
from core.errors import CheckFailed, PunctualError
from core.logs import setup_logs
from core.progress import console
from core.settings import get_settings

_INTERRUPTED = 130  # as shells call what Ctrl-C has ended
app = typer.Typer(
    name="punctual",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="""From raw events to predictions by entity id, with a feature store at the centre.

The steps, in order: **fetch** raw windows, **validate** them, **apply** the Feast definitions, **transform** raw rows
into feature rows, **materialize** them into the online store, build the **dataset**, **train**. `punctual up` does all
of that and serves the result; `dvc repro` runs the same steps.

Every step can be stopped at any moment and run again. Settings are environment variables (`PUNCTUAL_...`,
docs/settings.md). Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check found what it looks for.""",
)
checks_app = typer.Typer(no_args_is_help=True, help="Prove that features neither leak nor skew.")

app.command("up")(up.up)
app.command("fetch")(data.fetch)
app.command("validate")(data.validate)
app.command("apply")(data.apply)
app.command("transform")(data.transform)
app.command("materialize")(data.materialize)
app.command("features")(data.features)
app.command("dataset")(model.dataset)
app.command("train")(model.train)
app.command("promote")(model.promote)
app.command("rollback")(model.rollback)
app.command("compare")(model.compare)
app.command("serve")(up.serve)
app.command("predict")(model.predict)
app.command("lineage")(model.lineage)
app.command("dashboard")(dashboard.dashboard)
app.command("replay")(replay.replay)
app.command("doctor")(status.doctor)
checks_app.command("leakage")(checks.leakage)
checks_app.command("skew")(checks.skew)
app.command("audit")(accounts.audit)
app.add_typer(checks_app, name="check")
app.add_typer(flow.flow_app, name="flow")
app.add_typer(monitoring.monitor_app, name="monitor")
app.add_typer(accounts.keys_app, name="keys")
app.add_typer(accounts.users_app, name="users")


def run() -> None:
    """Run the command; an expected error is one clear line and an exit code, never a stack trace."""
    try:
        settings = get_settings()
        interrupts.watch()
        setup_logs(settings.log_level if "PUNCTUAL_LOG_LEVEL" in os.environ else "WARNING", settings.log_format)
        app()  # ends the process itself: 0, 2 with a usage message, or 130 after Ctrl-C
    except BaseException as error:
        code = _said(error)
        if code is None:
            raise
        sys.exit(code)


def _said(error: BaseException) -> int | None:
    """Say what ended the command and return its exit code; None if nobody expected it."""
    if _was_stopped(error):
        console.print("Stopped. Run the same command again to go on from here.")
        return _INTERRUPTED
    if isinstance(error, PunctualError):
        console.print(f"[red]{error.title}:[/red] ", end="")
        console.print(str(error), markup=False, soft_wrap=True)
        return 3 if isinstance(error, CheckFailed) else 1
    if isinstance(error, BrokenPipeError):
        # The reader of a pipe went away (`| head`): nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return None


def _was_stopped(error: BaseException) -> bool:
    """Return whether Ctrl-C is behind ``error``: itself, a failure while it was handled, or a library's word."""
    if isinstance(error, SystemExit):
        return error.code == _INTERRUPTED  # Typer's
    if isinstance(error, RuntimeError) and str(error) == "Query interrupted":
        return True  # DuckDB's, where it noticed Ctrl-C by itself
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
