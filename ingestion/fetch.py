"""Fetches raw data by window of arrival and keeps every window as it came, once and for all."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from core.errors import DataError
from core.files import atomic_dir, read_json, sha256, write_json
from core.progress import progress
from core.windows import Window, list_windows
from stores.raw import MANIFEST

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from core.repo import FeatureRepo


def fetch_window(repo: FeatureRepo, window: Window) -> dict[str, Any]:
    """Fetch one window and write it whole; a window that is there already is left alone.

    Parameters
    ----------
    repo : FeatureRepo
        Whose ``source.py`` to ask.
    window : Window
        ``[since, until)``, UTC. It must begin where the last one ends.

    Returns
    -------
    dict
        The manifest: ``window``, and a table's ``rows`` and ``sha256`` under ``tables``.

    Raises
    ------
    DataError
        When the window overlaps another, or leaves a gap after the last.
    SourceError
        When the source fails or breaks its contract; nothing is written then.
    """
    folder = repo.layout.raw / window.id
    fetched = list_windows(repo.layout.raw)
    if window in fetched:
        return dict(read_json(folder / MANIFEST))
    if fetched and window.since != fetched[-1].until:
        raise DataError(
            f"The window {window} does not begin where the last one ends ({fetched[-1].until:%Y-%m-%d %H:%M} UTC).",
            hint="Windows follow one another: leave --since out to fetch the next.",
        )
    with progress(f"Fetching {window}", total=len(repo.schemas) + 1) as advance:
        tables = repo.fetch(window.since, window.until)
        advance(note="writing")
        manifest: dict[str, Any] = {"window": window.id, "tables": {}}
        with atomic_dir(folder) as temporary:
            for name, table in sorted(tables.items()):
                path = temporary / f"{name}.parquet"
                write_table(table, path)
                manifest["tables"][name] = {"rows": len(table), "sha256": sha256(path)}
                advance(note=name)
            write_json(temporary / MANIFEST, manifest)
    return manifest


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write rows as Parquet with microsecond times: the same rows give the same bytes."""
    table.to_parquet(path, index=False, coerce_timestamps="us", allow_truncated_timestamps=True)


def next_window(repo: FeatureRepo) -> Window | None:
    """Return the window that follows the last fetched one; None when the source or the present ends there.

    The first is ``data.start .. data.initial_until`` of problem.yaml; each later one is ``data.step`` long.
    """
    data = repo.problem.data
    fetched = list_windows(repo.layout.raw)
    if not fetched:
        return data.initial
    since = fetched[-1].until
    until = since + data.step
    if data.end is not None:
        until = min(until, data.end)
    if data.clock == "system":
        # What has not happened cannot be fetched.
        until = min(until, repo.clock.now().replace(microsecond=0))
    return Window(since, until) if until - since > timedelta(0) else None
