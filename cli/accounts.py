"""Commands on keys, users and the audit log: straight on the database, for whoever may read its address."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli import context
from core.clock import SystemClock
from core.progress import console

if TYPE_CHECKING:
    from core.auth import Accounts

keys_app = typer.Typer(no_args_is_help=True, help="API keys: make, list, rotate, revoke.")
users_app = typer.Typer(no_args_is_help=True, help="People who may log in.")

KeyId = Annotated[str, typer.Argument(help="The twelve digits after pk_.")]
UserName = Annotated[str, typer.Argument(help="The user's name.")]
_PIPE_WIDTH = 1000
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]


def _accounts() -> Accounts:
    return context.accounts(context.settings(), context.repo())


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str], typer.Option(help="predict, read, data, train or admin; may be repeated.")],
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="How long it is good; without: no end.")] = None,
    rate_limit: Annotated[str | None, typer.Option(help="A limit of its own, as in 100/minute.")] = None,
    owner: Annotated[str | None, typer.Option(help="The user who answers for it, and with whom it goes.")] = None,
) -> None:
    """Make a key and show it, this once; the line with the key alone goes to standard output."""
    lifetime = timedelta(days=days) if days else None
    key, facts = _accounts().keys.create(
        name, scope, owner=owner or context.actor(), lifetime=lifetime, rate_limit=rate_limit
    )
    typer.echo(f"Key {facts['id']} for {', '.join(facts['scopes'])}. Keep it: it cannot be shown again.", err=True)
    typer.echo(key)


@keys_app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Show every key, without its secret."""
    rows = _accounts().keys.all()
    now = SystemClock().now()
    for row in rows:
        row["state"] = _state(row, now)
    columns = ("id", "name", "owner", "scopes", "rate_limit", "state", "created_at", "expires_at", "last_used_at")
    _show(rows, columns, as_json=as_json)


@keys_app.command("rotate")
def rotate_key(
    key_id: KeyId,
    grace_minutes: Annotated[
        int, typer.Option(min=0, max=7 * 24 * 60, help="For how long the old secret stays good.")
    ] = 60,
) -> None:
    """Give a key a new secret and show it, this once."""
    key = _accounts().keys.rotate(key_id, by=context.actor(), grace=timedelta(minutes=grace_minutes))
    typer.echo(f"The old secret is good for another {grace_minutes} min.", err=True)
    typer.echo(key)


@keys_app.command("revoke")
def revoke_key(key_id: KeyId) -> None:
    """Make a key no good: every service refuses it within a second."""
    _accounts().keys.revoke(key_id, by=context.actor())
    console.print(f"Revoked {key_id}.")


@users_app.command("add")
def add_user(
    name: UserName,
    role: Annotated[str, typer.Option(help="admin, or user: predictions and reading.")] = "user",
    email: Annotated[str | None, typer.Option(help="Where links for new passwords are mailed to.")] = None,
) -> None:
    """Add a user and show a password that must be changed at the first log-in."""
    password = _accounts().users.add(name, role, by=context.actor(), email=email)
    typer.echo(f"{name} ({role}) logs in with this password, once:", err=True)
    typer.echo(password)


@users_app.command("list")
def list_users(as_json: AsJson = False) -> None:
    """Show every user."""
    columns = ("name", "role", "email", "disabled", "must_change", "created_at")
    _show(_accounts().users.all(), columns, as_json=as_json)


@users_app.command("reset")
def reset_user(name: UserName) -> None:
    """Give a user a new password, which must be changed at the next log-in; their sessions end."""
    password = _accounts().users.reset(name, by=context.actor())
    typer.echo(f"{name} logs in with this password, once:", err=True)
    typer.echo(password)


@users_app.command("link")
def link_user(name: UserName) -> None:
    """Make a link with which a user chooses a new password, once, and show it."""
    made = _accounts().resets.issue(name, by=context.actor())
    typer.echo(f"{name} chooses a new password here, once, until {made['expires_at']:%Y-%m-%d %H:%M} UTC:", err=True)
    typer.echo(made["link"])


@users_app.command("email")
def set_email(
    name: UserName, address: Annotated[str | None, typer.Argument(help="The address; without, none.")] = None
) -> None:
    """Give a user a mail address, to which links for new passwords go."""
    _accounts().users.set_email(name, address, by=context.actor())
    console.print(f"{name} has {address or 'no mail address'} now.", markup=False)


@users_app.command("remove")
def remove_user(name: UserName) -> None:
    """Remove a user, with their sessions and keys."""
    _accounts().users.remove(name, by=context.actor())
    console.print(f"Removed {name}.", markup=False)


@users_app.command("disable")
def disable_user(name: UserName) -> None:
    """Let nobody log in as a user: their sessions end, and their keys rest, within a second for every service."""
    _accounts().users.disable(name, by=context.actor())
    console.print(f"Disabled {name}.", markup=False)


@users_app.command("enable")
def enable_user(name: UserName) -> None:
    """Let a disabled user log in again; their keys are good again."""
    _accounts().users.enable(name, by=context.actor())
    console.print(f"Enabled {name}.", markup=False)


@users_app.command("role")
def set_role(name: UserName, role: Annotated[str, typer.Argument(help="admin or user.")]) -> None:
    """Give a user another role; their sessions end, and keys that the role does not allow."""
    _accounts().users.set_role(name, role, by=context.actor())
    console.print(f"{name} is {role} now.", markup=False)


def audit(
    since: Annotated[datetime | None, typer.Option(help="Records from here on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Records before this (UTC).")] = None,
    actor: Annotated[str | None, typer.Option(help="Only theirs.")] = None,
    action: Annotated[str | None, typer.Option(help="Only actions that begin so.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show who did what, newest first."""
    rows = _accounts().audit_log(since=_utc(since), until=_utc(until), actor=actor, action=action, limit=limit)
    columns = ("at", "actor", "action", "target", "outcome", "detail", "address", "correlation_id")
    _show(rows, columns, as_json=as_json)


def _state(row: dict[str, Any], now: datetime) -> str:
    if row["revoked_at"] is not None:
        return "revoked"
    return "expired" if row["expires_at"] is not None and row["expires_at"] <= now else "good"


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _show(rows: Sequence[dict[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            typer.echo(json.dumps({name: row[name] for name in columns}, default=_iso))
        return
    table = Table(*(name.removesuffix("_at").replace("_", " ") for name in columns), box=None)
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in columns))
    # What was asked for goes to standard output, whole lines where a program reads them.
    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)


def _iso(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if value is None or value == {}:
        return "-"
    return escape(json.dumps(value) if isinstance(value, dict) else str(value))
