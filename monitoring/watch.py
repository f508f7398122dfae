"""One turn of monitoring over a window: look, raise and clear alarms, decide, act, tell.

In order: truth, performance, drift, freshness and skew; alarms; whether the promoted model does worse than the one
before it (rollback); whether to train again (policy), and if so training, judgement and promotion.

A turn is idempotent: the same window again finds what it decided, and goes on where it was cut off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from core.client import TrainingClient
from core.database import database
from core.errors import PunctualError
from core.files import locked, read_json, write_json
from core.jobs import words
from core.model import HEADER
from core.notify import Notifier
from core.registry import pointed_version
from core.windows import Window
from monitoring import messages
from monitoring.actions import Actions
from monitoring.alarms import Alarms
from monitoring.decisions import Decisions
from monitoring.findings import judged
from monitoring.tasks import Here

if TYPE_CHECKING:
    from core.layout import Layout
    from core.repo import FeatureRepo
    from core.settings import Settings

LOOKS = ("truth", "performance", "drift", "freshness", "skew")
STEPS = (
    *("begin", *LOOKS, "alarms", "notify alarms"),
    *("rollback", "roll back", "record rollback", "notify rollback"),
    *("decide", "notify training", "train", "judge", "promote", "record training", "notify outcome", "keep"),
)
_LOOK_SECONDS = 0.5
_Result = TypeVar("_Result")


class Runner(Protocol):
    """How a turn's parts are run: here and now (:class:`monitoring.tasks.Here`), or as steps of a durable job."""

    def step(self, name: str, function: Callable[[], _Result]) -> _Result:
        """Run one of :data:`STEPS`; returns plain data. One that was cut off may be run again."""
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
    """Take one turn over ``[since, until)``, on the problem's clock; one at a time, in the data folder of a repo.

    Parameters
    ----------
    repo, settings : FeatureRepo, Settings
        What to watch, and where the training service, the database and those who are told are.
    since, until : datetime, optional
        The window, whole seconds; by default the last ``data.step`` before now.
    act : bool
        Whether to retrain, promote and roll back; without it the turn looks, raises alarms, and decides for the record.
    runner : Runner, optional
        How to run the parts; by default in this process, one after the other.

    Returns
    -------
    dict
        ``since``, ``until``, ``model_version``; what was seen: ``truth``, ``performance``, ``drift``, ``freshness``,
        ``skew`` (each ``{"error": words}`` where it could not be seen); ``alarms`` (rows ``opened`` and ``cleared``,
        number ``open``); ``rollback`` (None where there was nothing to undo) and ``decision`` as rows of the decisions
        table. Also kept as ``data/monitoring/turns/<window>.json``.

    Raises
    ------
    DatabaseUnavailable
        When alarms and decisions cannot be kept. What cannot be looked at is an alarm instead, and what cannot be
        carried out a decision that ``failed``.
    """
    window = window_of(repo, since, until)
    runner = runner or Here(repo, settings)
    store = database(repo, settings)
    name = repo.problem.name
    alarms, decisions, notifier = Alarms(store, name), Decisions(store, name), Notifier(settings)
    actions = Actions(
        repo.problem,
        window,
        act,
        runner=runner,
        alarms=alarms,
        decisions=decisions,
        notifier=notifier,
        training=lambda: TrainingClient.local(settings, repo.layout),
    )
    with _alone(repo.layout.monitoring / ".turn.lock", runner):
        begun = runner.step("begin", lambda: _begin(repo, alarms, decisions, window))
        looks = _look(runner, window, begun)
        changed = runner.step("alarms", lambda: _alarms(repo, alarms, window, looks, begun["open"]))

        def tell() -> None:
            for message in messages.of_alarms(repo.problem, changed["opened"], changed["cleared"]):
                notifier.send(message)

        runner.step("notify alarms", tell)
        rollback = actions.roll_back(begun["champion"])
        undone = rollback is not None and rollback["outcome"] == "rolled back"
        champion = rollback["version"] if rollback and undone else begun["champion"]
        decision = actions.train(champion, begun["trained_at"], looks)
        result = {
            "since": window.since.isoformat(),
            "until": window.until.isoformat(),
            "model_version": begun["champion"],
            **_short(looks),
            "alarms": changed,
            "rollback": rollback,
            "decision": decision,
        }
        runner.step("keep", lambda: write_json(_folder(repo.layout) / f"{window.id}.json", result))
    return result


def window_of(repo: FeatureRepo, since: datetime | None, until: datetime | None) -> Window:
    """Return the window of a turn: what is not given is the last ``data.step`` before now, whole seconds.

    Raises
    ------
    ConfigError
        When it ends before it begins.
    NoData
        On a replay clock that has no time yet.
    """
    end = (until or repo.clock.now()).replace(microsecond=0)
    return Window(since or end - repo.problem.data.step, end)


def turns(layout: Layout, limit: int = 20) -> list[dict[str, Any]]:
    """Return what the turns found, the one whose window ends last first."""
    windows = sorted((Window.parse(p.stem) for p in _folder(layout).glob("*.json")), key=lambda w: (w.until, w.since))
    return [read_json(_folder(layout) / f"{window.id}.json") for window in windows[::-1][:limit]]


def last_taken(layout: Layout) -> datetime | None:
    """Return when the last turn came to its end, on the machine's clock; None where none was taken."""
    ends = [path.stat().st_mtime for path in _folder(layout).glob("*.json")]
    return datetime.fromtimestamp(max(ends), UTC) if ends else None


def _folder(layout: Layout) -> Path:
    return layout.monitoring / "turns"


@contextmanager
def _alone(path: Path, runner: Runner) -> Iterator[None]:
    """Hold the only right to take a turn, once whoever has it is done."""
    while True:
        try:
            with locked(path, wait=False):
                yield
                return
        except BlockingIOError:
            runner.beat(None, "waits for another turn")
            time.sleep(_LOOK_SECONDS)


def _begin(repo: FeatureRepo, alarms: Alarms, decisions: Decisions, window: Window) -> dict[str, Any]:
    """Return who is champion, up to when any training learned, and which alarms are open.

    What other turns left unfinished is given up: while this one holds the lock, none of them is at work.
    """
    decisions.give_up(but=window.until)
    learned = max(filter(None, (decisions.last_training(window.until), *_learned(repo.layout))), default=None)
    return {
        "champion": pointed_version(repo.layout, "champion"),
        "trained_at": learned.isoformat() if learned else None,
        "open": [row["id"] for row in alarms.list("open", limit=None)],
    }


def _learned(layout: Layout) -> Iterator[datetime]:
    """Give up to when each version learned that is on this machine; each new one is, whoever trained it."""
    for path in layout.models.glob(f"[1-9]*/{HEADER}"):
        try:
            until = read_json(path)["metadata"].get("trained_until")
        except (OSError, ValueError, KeyError):  # a copy that is spoilt is fetched anew by whoever needs it
            continue
        if until and path.parent.name.isdigit():
            yield datetime.fromisoformat(until)


def _look(runner: Runner, window: Window, begun: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    span = {"since": window.since.isoformat(), "until": window.until.isoformat()}
    asked = {
        "truth": {"since": begun["trained_at"], "until": span["until"]},
        "performance": span,
        "drift": {**span, "version": begun["champion"]},
        "freshness": span,
        "skew": span,
    }

    def look(name: str) -> dict[str, Any]:
        try:
            return runner.task(name, **asked[name])
        except PunctualError as error:  # what cannot be seen is an alarm, and no reason not to look at the rest
            return {"error": words(error)}

    return {name: runner.step(name, lambda name=name: look(name)) for name in LOOKS}  # type: ignore[misc]


def _alarms(
    repo: FeatureRepo, alarms: Alarms, window: Window, looks: Mapping[str, dict[str, Any]], before: list[int]
) -> dict[str, Any]:
    """Raise and clear alarms; return the rows that opened since ``before``, that are over, and how many are open."""
    for one in judged(repo.problem, looks):
        for found in one.bad:
            alarms.raise_alarm(
                *(one.kind, found.subject, found.words),
                at=window.until,
                value=found.value,
                threshold=found.threshold,
                facts=found.facts,
            )
        bad = {found.subject for found in one.bad}
        for row in alarms.list("open", limit=None):
            if row["kind"] == one.kind and row["subject"] not in bad:
                alarms.clear(one.kind, row["subject"], one.good, at=window.until)
    now = {row["id"]: row for row in alarms.list("open", limit=None)}
    cleared = [alarms.get(number) for number in before if number not in now]
    return {"opened": [row for n, row in now.items() if n not in before], "cleared": cleared, "open": len(now)}


def _short(looks: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what is kept of the looks in a turn's record: reports and slices are kept elsewhere."""
    drift, performance = looks["drift"], looks["performance"]
    if "error" not in drift:
        drifted = [found["name"] for found in drift["features"] if found["drifted"]]
        names = ("id", "model_version", "verdict", "share", "rows", "reasons", "performance")
        drift = {**{name: drift[name] for name in names}, "drifted": drifted}
    if "error" not in performance:
        whole = [found for found in performance["windows"] if found["slice"] is None]
        performance = {**performance, "windows": whole}
    return {**looks, "drift": drift, "performance": performance}
