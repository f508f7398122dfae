"""Runs the command as a user does: a process, its exit code, and what it prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.places import PORTS
from tests.conftest import free_port

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Shell:
    """A shell in which one feature repo is configured."""

    repo: Path
    environment: dict[str, str]

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", *words]

    def run(self, *words: str, timeout: float = 600, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            self.command(*words),
            cwd=ROOT,
            env=self.environment | changed,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command that stays."""
        return subprocess.Popen(
            self.command(*words),
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def shell_for(repo: Path) -> Shell:
    ports = {"PUNCTUAL_REDIS": f"127.0.0.1:{free_port()}"}
    ports |= {f"PUNCTUAL_{setting.upper()}": str(free_port()) for setting in (*PORTS.values(), "dashboard_port")}
    return Shell(repo, os.environ | ports | {"PUNCTUAL_FEATURE_REPO": str(repo), "COLUMNS": "200"})


@pytest.fixture
def empty(tmp_path: Path) -> Shell:
    """Give the loans repo with nothing done yet."""
    repo = tmp_path / "loans"
    shutil.copytree(ROOT / "tests/repos/loans", repo, ignore=shutil.ignore_patterns("data", "__pycache__"))
    return shell_for(repo)


def assert_one_clear_line(done: subprocess.CompletedProcess[str], code: int, *says: str) -> None:
    """Check an error: its exit code, its words, and that no trace is shown."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for words in says:
        assert words in done.stderr.replace("\n", " "), done.stderr
