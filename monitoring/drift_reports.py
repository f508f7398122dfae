"""Where drift reports are kept: a folder each, with the page and the JSON, and the same beside the run in MLflow."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.errors import InvalidRequest, NotFound, Unavailable
from core.files import atomic_dir, read_json, write_json
from core.registry import RegistryReader, reachable

if TYPE_CHECKING:
    from datetime import datetime

    from core.repo import FeatureRepo
    from core.settings import Settings

Verdict = Literal["drift", "no drift", "too few rows"]
FILES = {"html": "report.html", "json": "report.json"}
IN_SHORT = ("id", "model_version", "since", "until", "made_at", "rows", "sampled", "verdict", "share", "reasons")
_ID = re.compile(r"[0-9TZ]{16}_[0-9TZ]{16}-v[0-9]{1,9}")


def keep(
    repo: FeatureRepo,
    content: dict[str, Any],
    write_page: Callable[[Path], None] | None,
    run_id: str | None,
    settings: Settings | None,
) -> dict[str, Any]:
    """Write a report, whole or not at all, and log it to a run; return it with a note on where it is.

    Parameters
    ----------
    content : dict
        The report as plain data, with ``id`` and ``notes``.
    write_page : callable, optional
        Writes the HTML page to the path it is given.
    run_id : str, optional
        The MLflow run of the model version.
    settings : Settings, optional
        Where MLflow is.
    """
    folder = _folder(repo, content["id"])
    with atomic_dir(folder) as whole:
        if write_page is not None:
            write_page(whole / FILES["html"])
        write_json(whole / FILES["json"], content)
    if note := _log(repo, folder, run_id, settings):
        content = {**content, "notes": [*content["notes"], note]}
        write_json(folder / FILES["json"], content)
    return content


def _log(repo: FeatureRepo, folder: Path, run_id: str | None, settings: Settings | None) -> str | None:
    """Log the files of a report to a run under ``drift/<id>``; return why not, if not."""
    if run_id is None:
        return "Kept on this machine alone: the model version names no run."
    registry = RegistryReader(repo, settings)
    try:
        client = registry.client
        from mlflow.exceptions import MlflowException

        try:
            with reachable(registry.uri):
                client.log_artifacts(run_id, str(folder), f"drift/{folder.name}")
        except MlflowException as error:
            return f"Kept on this machine alone: {str(error).splitlines()[0]}"
    except (Unavailable, OSError) as error:
        return f"Kept on this machine alone: {error}"
    return None


def list_reports(repo: FeatureRepo, limit: int = 100) -> list[dict[str, Any]]:
    """Return the newest reports in short, the newest window first.

    Returns
    -------
    list of dict
        ``id``, ``model_version``, ``since``, ``until``, ``made_at``, ``rows``, ``sampled``, ``verdict``, ``share``,
        ``reasons``; ``drifted``: names of the features that did; ``has_page``: whether a page is kept here.
    """
    folders = sorted((p for p in _root(repo).glob("[!.]*") if _ID.fullmatch(p.name)), reverse=True)
    return [_in_short(folder) for folder in folders[:limit]]


def _in_short(folder: Path) -> dict[str, Any]:
    report = read_json(folder / FILES["json"])
    drifted = [feature["name"] for feature in report["features"] if feature["drifted"]]
    has_page = (folder / FILES["html"]).is_file()
    return {**{name: report[name] for name in IN_SHORT}, "drifted": drifted, "has_page": has_page}


def read_report(repo: FeatureRepo, report_id: str) -> dict[str, Any]:
    """Return a report as :meth:`monitoring.drift.DriftReport.as_dict` gave it.

    Raises
    ------
    NotFound
        When there is none of that id.
    """
    return dict(read_json(report_file(repo, report_id, "json")))


def report_file(repo: FeatureRepo, report_id: str, kind: Literal["html", "json"]) -> Path:
    """Return where the HTML or JSON file of a report lies.

    Raises
    ------
    NotFound
        When there is none of that id, or it has no page.
    InvalidRequest
        When another kind is asked for.
    """
    if kind not in FILES:
        raise InvalidRequest(f"A drift report has no {kind!r} file.", hint=f"Ask for one of: {', '.join(FILES)}.")
    if _ID.fullmatch(report_id) and (path := _folder(repo, report_id) / FILES[kind]).is_file():
        return path
    newest = ", ".join(report["id"] for report in list_reports(repo, 3))
    raise NotFound(
        f"There is no {kind} of a drift report {report_id[:60]!r}.", hint=f"The newest are: {newest or 'none yet'}."
    )


def drop_pages(repo: FeatureRepo, before: datetime) -> int:
    """Remove the pages of reports that were made before a moment, on the machine's clock; figures and words stay."""
    count = 0
    for page in _root(repo).glob(f"[!.]*/{FILES['html']}"):
        if page.stat().st_mtime < before.timestamp():
            page.unlink()
            count += 1
    return count


def _root(repo: FeatureRepo) -> Path:
    return repo.layout.monitoring / "drift"


def _folder(repo: FeatureRepo, report_id: str) -> Path:
    return _root(repo) / report_id
