"""Keys, users and the audit log from the command line."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from core.database import Database
from core.layout import Layout
from core.settings import Settings
from tests.cli.conftest import ROOT, Shell, assert_one_clear_line

pytestmark = pytest.mark.slow


def rows(shell: Shell, *words: str) -> list[dict[str, object]]:
    done = shell.run(*words, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_key_is_made_shown_once_rotated_and_revoked(empty: Shell):
    made = empty.run("keys", "create", "my app", "--scope", "predict", "--scope", "read", "--days", "30")
    key = made.stdout.strip()
    assert key.startswith("pk_")
    assert len(key) == 59, "nothing else on standard output: it can be piped into a file"
    assert key not in made.stderr
    (row,) = rows(empty, "keys", "list")
    assert (row["id"], row["scopes"], row["state"]) == (key[3:15], ["predict", "read"], "good")
    assert str(row["owner"]).startswith("cli:")
    newer = empty.run("keys", "rotate", key[3:15], "--grace-minutes", "0").stdout.strip()
    assert newer[:16] == key[:16]
    assert newer != key
    assert empty.run("keys", "revoke", key[3:15]).returncode == 0
    assert rows(empty, "keys", "list")[0]["state"] == "revoked"
    assert_one_clear_line(empty.run("keys", "revoke", key[3:15]), 1, "Not found", "no key")
    shown = empty.run("audit")
    assert [r["action"] for r in rows(empty, "audit")] == ["key revoked", "key rotated", "key made"]
    assert "key rotated" in shown.stdout
    for secret in (key[16:], newer[16:]):
        assert secret not in shown.stdout


def test_users_are_managed_and_the_password_works(empty: Shell, tmp_path: Path):
    from core.auth import Accounts

    first = empty.run("users", "add", "ada", "--role", "admin").stdout.strip()
    second = empty.run("users", "add", "bo").stdout.strip()
    assert_one_clear_line(empty.run("users", "add", "bo"), 1, "Conflict", "bo")
    assert_one_clear_line(empty.run("users", "role", "ada", "user"), 1, "last administrator")
    assert empty.run("users", "role", "bo", "admin").returncode == 0
    reset = empty.run("users", "reset", "ada").stdout.strip()
    assert len({first, second, reset}) == 3
    layout = Layout(empty.repo)
    accounts = Accounts(Database(layout.database_url), Settings(), layout)
    assert accounts.sessions.log_in("ada", reset, "10.0.0.1")["must_change"] is True
    assert empty.run("users", "disable", "ada").returncode == 0
    assert_one_clear_line(empty.run("users", "disable", "bo"), 1, "Conflict", "last administrator")
    assert [r["disabled"] for r in rows(empty, "users", "list")] == [True, False]
    assert empty.run("users", "enable", "ada").returncode == 0
    assert empty.run("users", "email", "ada", "Ada@example.org").returncode == 0
    assert_one_clear_line(empty.run("users", "email", "bo", "ada@example.org"), 1, "Conflict", "address")
    assert_one_clear_line(empty.run("users", "email", "bo", "nonsense"), 1, "mail address")
    assert [r["email"] for r in rows(empty, "users", "list")] == ["ada@example.org", None]
    link = empty.run("users", "link", "ada").stdout.strip()
    assert accounts.resets.use(link.partition("#")[2], "a long and winding road", "10.0.0.1") == "ada"
    assert empty.run("users", "remove", "ada").returncode == 0
    assert [(r["name"], r["role"]) for r in rows(empty, "users", "list")] == [("bo", "admin")]


def test_wrong_use_is_one_clear_line(empty: Shell):
    assert_one_clear_line(empty.run("keys", "create", "x", "--scope", "everything"), 1, "everything", "predict")
    nowhere = {"PUNCTUAL_DATABASE": "postgresql://me:hunter2@127.0.0.1:1/x"}
    done = empty.run("keys", "list", **nowhere)
    assert_one_clear_line(done, 1, "Database unavailable", "127.0.0.1")
    assert "hunter2" not in done.stderr


def test_the_commands_of_the_documentation_work(empty: Shell):
    page = (ROOT / "docs/security.md").read_text()
    commands = [shlex.split(line)[1:] for line in page.splitlines() if line.startswith("punctual ")]
    assert len(commands) > 8
    key_id = ""
    # (A second administrator, so that the first can go.)
    assert empty.run("users", "add", "eve", "--role", "admin").returncode == 0
    for words in commands:
        done = empty.run(*(key_id if word == "0123456789ab" else word for word in words))
        assert done.returncode == 0, (words, done.stderr)
        if words[:2] == ["keys", "create"]:
            key_id = done.stdout[3:15]
