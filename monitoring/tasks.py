"""The heavy parts of a turn, and tidying: plain data in, plain data out, so that each can run in a process of its own.

A service runs them as stages (``punctual monitor task``): the memory of Evidently and the models goes with the process,
and a job that is cancelled takes it along.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from core.errors import InvalidRequest, PunctualError
from core.jobs import words

if TYPE_CHECKING:
    from core.repo import FeatureRepo
    from core.settings import Settings
    from monitoring.comparison import SkewReport

_Result = TypeVar("_Result")
_DAY = timedelta(days=1)
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_EXAMPLES = 10
_SAMPLED = 200  # entities of each view that are compared online


class Here:
    """Runs the parts of a turn in this process, at once.

    Parameters
    ----------
    repo, settings : FeatureRepo, Settings
        What the tasks work on.
    """

    def __init__(self, repo: FeatureRepo, settings: Settings) -> None:
        self.repo = repo
        self.settings = settings

    def step(self, name: str, function: Callable[[], _Result]) -> _Result:
        """Run a part."""
        return function()

    def task(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Run a task."""
        return run(self.repo, self.settings, name, arguments)

    def beat(self, share: float | None, note: str) -> None:
        """Hear of progress."""


def run(repo: FeatureRepo, settings: Settings, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run one of :data:`TASKS`.

    Parameters
    ----------
    repo, settings : FeatureRepo, Settings
        What it works on.
    name : str
        Which one.
    arguments : dict
        Plain data; moments as ISO 8601 text.

    Raises
    ------
    InvalidRequest
        When there is no such task, or the arguments are not its.
    """
    task = TASKS.get(name)
    if task is None:
        raise InvalidRequest(f"There is no task {name!r}.", hint=f"There are: {', '.join(TASKS)}.")
    moments = {k: datetime.fromisoformat(v) for k, v in arguments.items() if k in ("since", "until") and v}
    try:
        found = task(repo, settings, **{**arguments, **moments})
    except TypeError as error:
        if f"{task.__name__}()" not in str(error):
            raise
        raise InvalidRequest(f"The task {name} was given the wrong arguments: {error}.") from error
    return dict(json.loads(json.dumps(found, default=str)))


def _truth(repo: FeatureRepo, settings: Settings, *, until: datetime, since: datetime | None = None) -> dict[str, Any]:
    """Join all labels that are known by now to their predictions; ``new`` counts rows of the spine of the window."""
    from monitoring.truth import count_truth, update_truth

    summary = asdict(update_truth(repo))
    return {**summary, "new": count_truth(repo, since or _EVER, until)}


def _performance(repo: FeatureRepo, settings: Settings, *, since: datetime, until: datetime) -> dict[str, Any]:
    """Compute performance by day and over the window, and that of earlier windows whose labels came late.

    All are kept; returned is the window's, and as ``measured`` that of the newest one of its length with labels.
    """
    from monitoring.performance import newest_measured, performance, refresh_performance

    changed = refresh_performance(repo)
    midnight = since.replace(hour=0, minute=0, second=0, microsecond=0)
    performance(repo, midnight, until, step=_DAY)
    windows = performance(repo, since, until, step=until - since)
    measured = [one for one in newest_measured(repo, until - since) if one.slice is None]
    return {
        "windows": [found.as_dict() for found in windows],
        "measured": [found.as_dict() for found in measured],
        "refreshed": len(changed),
    }


def _drift(
    repo: FeatureRepo,
    settings: Settings,
    *,
    since: datetime,
    until: datetime,
    version: str | None = None,
    page: bool = True,
) -> dict[str, Any]:
    """Test for drift, and keep the report."""
    from monitoring.drift import check_drift

    return check_drift(repo, since, until, version=version, settings=settings, page=page).as_dict()


def _freshness(repo: FeatureRepo, settings: Settings, *, since: datetime, until: datetime) -> dict[str, Any]:
    """Return the age of each view, and how often features were missing at serving."""
    from monitoring.freshness import freshness, missing_rates

    # Ages are of now, whatever the window is: nobody knows what was online then.
    return {"views": freshness(repo), "missing": missing_rates(repo, since, until)}


def _skew(repo: FeatureRepo, settings: Settings, *, since: datetime, until: datetime) -> dict[str, Any]:
    """Count the values that differ, by feature: logged vectors against history, and what is online now, ``sampled``."""
    from monitoring.skew import check_logged, check_sampled

    try:
        sampled = _counted(check_sampled(repo, _SAMPLED))
    except PunctualError as error:  # an online store that is away keeps nobody from rebuilding what is logged
        sampled = {"error": words(error)}
    return {**_counted(check_logged(repo, since=since, until=until)), "sampled": sampled}


def _counted(report: SkewReport) -> dict[str, Any]:
    return {
        "rows": report.rows,
        "values": report.values,
        "unexplained": dict(report.by_feature),
        "explained": dict(report.explained),
        "left_out": dict(report.left_out),
        "examples": [str(difference) for difference in report.differences[:_EXAMPLES]],
    }


def _contest(
    repo: FeatureRepo,
    settings: Settings,
    *,
    challenger: str,
    champion: str,
    since: datetime,
    until: datetime,
    **how: Any,
) -> dict[str, Any]:
    """Hold two versions against each other: see :func:`monitoring.judge.contest`."""
    from core.registry import RegistryReader
    from monitoring.judge import contest

    return contest(repo, RegistryReader(repo, settings), challenger, champion, since, until, **how)


def _tidy(repo: FeatureRepo, settings: Settings) -> dict[str, Any]:
    """Merge the small parts of the log, and remove what is no longer kept."""
    from monitoring.tidy import tidy

    return tidy(repo, settings)


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "truth": _truth,
    "performance": _performance,
    "drift": _drift,
    "freshness": _freshness,
    "skew": _skew,
    "contest": _contest,
    "tidy": _tidy,
}
