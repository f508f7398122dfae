"""One turn of monitoring over a window: look, raise and clear alarms, decide, act, tell.

In order: truth, performance, drift, freshness and skew of the window; alarms; whether the promoted model does worse than
the one before it (rollback); whether to train again (policy), and if so training, judgement and promotion.

A turn is idempotent: the same window again finds what it decided, and goes on where it was cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from core.repo import FeatureRepo
    from core.settings import Settings

_Result = TypeVar("_Result")


class Runner(Protocol):
    """How a turn's parts are run: here and now (:class:`monitoring.tasks.Here`), or as steps of a durable job."""

    def step(self, name: str, function: Callable[[], _Result]) -> _Result:
        """Run one part; returns plain data. A part that was cut off may be run again."""
        ...

    def task(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Run one of ``monitoring.tasks.TASKS``: what is too heavy for a service's own process."""
        ...

    def beat(self, share: float | None, note: str) -> None:
        """Hear of progress; may raise to stop."""
        ...


def turn(
    repo: FeatureRepo,
    settings: Settings,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    act: bool = True,
    runner: Runner | None = None,
) -> dict[str, Any]:
    """Take one turn over ``[since, until)``, on the problem's clock.

    Parameters
    ----------
    repo, settings : FeatureRepo, Settings
        What to watch, and where the training service, the database and those who are told are.
    since, until : datetime, optional
        The window; by default the last ``data.step`` before now.
    act : bool
        Whether to retrain, promote and roll back; without it the turn looks, raises alarms, and decides for the record.
    runner : Runner, optional
        How to run the parts; by default in this process, one after the other.

    Returns
    -------
    dict
        ``since``, ``until``, ``model_version``, ``truth``, ``performance``, ``drift``, ``freshness``, ``skew``,
        ``alarms`` (``opened``, ``cleared``, ``open``), ``rollback`` and ``decision`` (rows of the decisions table, as plain
        data; None where none was called for). Also kept as ``data/monitoring/turns/<window>.json``.
    """
    raise NotImplementedError
