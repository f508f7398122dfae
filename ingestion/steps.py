"""The data service's steps as parts of jobs: each runs a stage of the pipeline as a process, and can be run again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from core.errors import DataError
from core.files import read_json
from core.jobs import ATTEMPTS, PAUSE_SECONDS, Work, run_stage
from core.stages import dvc_project, punctual, stage_command, stage_environment
from core.windows import Window, as_utc, list_windows
from ingestion import versions
from ingestion.fetch import next_window
from stores.raw import MANIFEST

if TYPE_CHECKING:
    from core.repo import FeatureRepo


class Steps:
    """The steps of one feature repo.

    Parameters
    ----------
    repo : FeatureRepo
        What to work on.
    attempts : int
        How often to try a step whose source or store is away.
    pause : float
        Seconds before the second attempt; twice as many before each further one.
    """

    def __init__(self, repo: FeatureRepo, *, attempts: int = ATTEMPTS, pause: float = PAUSE_SECONDS) -> None:
        self.repo = repo
        self.attempts = attempts
        self.pause = pause

    def plan(self, arguments: dict[str, Any]) -> str | None:
        """Return the window to import: the one asked for, or the next; None where there is none.

        Decided once and recorded: a step that is cut off and run again must not go on to yet another window. While a
        fetched window waits for its validation there is no next one: it comes first.
        """
        if arguments.get("since") is not None:
            return window_of(arguments).id
        if self.waits():
            return None
        window = next_window(self.repo)
        return window.id if window is not None else None

    def waits(self) -> bool:
        """Whether a fetched window waits for its validation."""
        layout = self.repo.layout
        return bool(set(list_windows(layout.raw)) - set(list_windows(layout.valid)))

    def fetch(self, work: Work, window_id: str) -> dict[str, Any]:
        """Fetch one window and tell DVC; return its rows by table."""
        window = Window.parse(window_id)
        moments = (f"{m:%Y-%m-%dT%H:%M:%S}" for m in (window.since, window.until))
        since, until = moments
        self._run(work, punctual("fetch", "--since", since, "--until", until))
        if dvc_project(self.repo) is not None:
            # The stage in dvc.yaml fetches the first window alone; what it keeps has grown by this one.
            self._run(work, [sys.executable, "-m", "dvc", "--wait-for-lock", "commit", "--force", "fetch"])
        tables = read_json(self.repo.layout.raw / window.id / MANIFEST)["tables"]
        return {"window": window.id, "rows": {name: table["rows"] for name, table in tables.items()}}

    def validate(self, work: Work) -> dict[str, Any]:
        """Check what is not checked yet; return rows and quarantined rows of the newest window by table."""
        self._run(work, stage_command(self.repo, "validate"))
        newest = list_windows(self.repo.layout.valid)[-1]
        tables = read_json(self.repo.layout.reports / "validation" / f"{newest.id}.json")["tables"]
        return {
            "window": newest.id,
            "rows": {name: table["rows"] for name, table in tables.items()},
            "quarantined": {name: table["quarantined"] for name, table in tables.items()},
        }

    def apply(self, work: Work) -> dict[str, Any]:
        """Make the definitions of the feature repo known."""
        return {"said": self._run(work, stage_command(self.repo, "apply"))}

    def preprocess(self, work: Work) -> dict[str, Any]:
        """Apply the definitions and turn checked rows into feature rows."""
        self._run(work, stage_command(self.repo, "apply"))
        work.advance(0.3)
        return {"said": self._run(work, stage_command(self.repo, "transform"))}

    def materialize(self, work: Work, views: list[str] | None = None) -> dict[str, Any]:
        """Write what arrived into the online store."""
        command = punctual("materialize", *views) if views else stage_command(self.repo, "materialize")
        return {"said": self._run(work, command)}

    def dataset(self, work: Work) -> dict[str, Any]:
        """Build the rows to learn from."""
        return {"said": self._run(work, stage_command(self.repo, "dataset"))}

    def version(self, work: Work) -> str:
        """Note the data version; return it."""
        return str(versions.record(self.repo, actor=work.actor, job=work.id)["version"])

    def _run(self, work: Work, command: list[str]) -> list[str]:
        said = run_stage(work, command, environment=stage_environment(self.repo))
        return [line for line in said if not _chatter(line)]


def window_of(arguments: dict[str, Any]) -> Window:
    """Return the window that ``since`` and ``until`` of a job's arguments name.

    Raises
    ------
    DataError
        When they are no whole seconds, which windows are.
    """
    from datetime import datetime

    since, until = (as_utc(datetime.fromisoformat(arguments[name])) for name in ("since", "until"))
    if since.microsecond or until.microsecond:
        raise DataError("A window begins and ends at whole seconds.", hint="Leave the fraction out.")
    return Window(since, until)


def _chatter(line: str) -> bool:
    # What DVC says around each stage is in the log; a job's result is what the stage itself said.
    return line.startswith(
        ("Running stage", "> PATH", "Updating lock file", "To track", "\tgit", "To enable", "\tdvc", "Use `")
    )
