"""Data versions: what the data was at a time, by whom, and how to have it again."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from core.clock import SystemClock
from core.errors import NoData
from core.files import atomic_path, read_json, sha256, write_json
from core.stages import dvc_project
from core.windows import list_windows
from stores.raw import MANIFEST, data_version

if TYPE_CHECKING:
    from pathlib import Path

    from core.repo import FeatureRepo
    from core.windows import Window


def record(repo: FeatureRepo, *, actor: str, job: str) -> dict[str, Any]:
    """Note the present data version; noted before, it keeps its author and moment, and gets the lock file of now.

    Where DVC drives the repo, a copy of ``dvc.lock`` is kept beside the note: put it back, and ``dvc checkout`` brings
    the version's files back.

    Parameters
    ----------
    repo : FeatureRepo
        Whose data.
    actor, job : str
        Who or what made it.

    Returns
    -------
    dict
        ``version``, ``windows`` with the rows of each table, ``rows`` of all, ``dvc_lock``, ``git_commit``,
        ``created_at``, ``actor``, ``job``.

    Raises
    ------
    NoData
        When nothing was fetched yet.
    """
    if not list_windows(repo.layout.raw):
        raise NoData("There is no data yet, so there is no version of it.", hint="Import the first window.")
    found = _present(repo)
    path = repo.layout.versions / f"{found['version']}.json"
    if path.is_file():
        earlier = read_json(path)
        found |= {name: earlier[name] for name in ("created_at", "actor", "job")}
    else:
        found |= {"created_at": SystemClock().now().isoformat(timespec="seconds"), "actor": actor, "job": job}
    lock = _lock(repo)
    if lock is not None:
        with atomic_path(path.with_suffix(".dvc.lock")) as temporary:
            shutil.copyfile(lock, temporary)
    write_json(path, found)
    return found


def list_versions(repo: FeatureRepo) -> list[dict[str, Any]]:
    """Return the noted versions, newest first, and the present one (``current``) even if nobody noted it."""
    folder = repo.layout.versions
    notes = [read_json(path) for path in folder.glob("*.json")] if folder.is_dir() else []
    notes.sort(key=lambda note: (len(note["windows"]), note["created_at"]), reverse=True)
    if not list_windows(repo.layout.raw):
        return [{**note, "current": False} for note in notes]
    now = data_version(repo)
    if all(note["version"] != now for note in notes):
        notes.insert(0, {**_present(repo), "created_at": None, "actor": None, "job": None})
    return [{**note, "current": note["version"] == now} for note in notes]


def _present(repo: FeatureRepo) -> dict[str, Any]:
    windows = [_window(repo, window) for window in list_windows(repo.layout.raw)]
    rows: dict[str, int] = {}
    for window in windows:
        for table, count in window["rows"].items():
            rows[table] = rows.get(table, 0) + count
    lock = _lock(repo)
    return {
        "version": data_version(repo),
        "windows": windows,
        "rows": rows,
        "dvc_lock": sha256(lock) if lock is not None else None,
        "git_commit": _git_commit(repo.layout.repo),
    }


def _window(repo: FeatureRepo, window: Window) -> dict[str, Any]:
    tables = read_json(repo.layout.raw / window.id / MANIFEST)["tables"]
    report = repo.layout.reports / "validation" / f"{window.id}.json"
    checked = read_json(report)["tables"] if report.is_file() else {}
    return {
        "window": window.id,
        "since": window.since.isoformat(),
        "until": window.until.isoformat(),
        "rows": {name: table["rows"] for name, table in tables.items()},
        "quarantined": {name: table["quarantined"] for name, table in checked.items()} if checked else None,
    }


def _lock(repo: FeatureRepo) -> Path | None:
    project = dvc_project(repo)
    lock = project / "dvc.lock" if project is not None else None
    return lock if lock is not None and lock.is_file() else None


def _git_commit(folder: Path) -> str | None:
    """Return the commit that the repo's folder is at; None where it is under no git, or there is none."""
    if shutil.which("git") is None:
        return None
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
