"""Lets the weeks go by on the replay clock: predictions as they fall due, labels as they come in, monitoring's turn.

Time goes on in steps. At the beginning of each, everything that became known is taken in; then what falls due until the
next step is predicted, through the prediction service as any client would. So a prediction is never made later than its
moment; what it lacks is at most what became known within its step. After each day monitoring takes its turn, and acts.

What is done is on disk: a file a step with what was predicted, and a file a turn. Killed anywhere and run again, it
goes on with the step it was in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from core.clock import SystemClock
from core.errors import ConfigError, Conflict, ServiceUnavailable
from core.files import locked, read_json, write_json
from core.progress import console, progress
from core.registry import pointed_version
from core.windows import Window
from ingestion.fetch import fetch_window
from ingestion.transform import transform
from ingestion.validate import validate_all
from monitoring.replay_predictions import Asker
from monitoring.replay_score import Score
from monitoring.tasks import Here
from monitoring.watch import turn
from stores.registry import apply, open_store
from stores.writer import materialize

if TYPE_CHECKING:
    from core.client import PredictionClient
    from core.repo import FeatureRepo
    from core.settings import Settings

STEP, EVERY = timedelta(hours=2), timedelta(days=1)
_STAMP = "%Y%m%dT%H%M%SZ"
_RELOAD_SECONDS = 120.0

Turn = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What a replay goes through; kept as ``plan.json`` from its first start on.

    Attributes
    ----------
    since, until : datetime
        The moments of prediction that it goes through, half-open, UTC.
    step : timedelta
        How far the clock moves at once.
    every : timedelta
        Between two turns of monitoring.
    champion : str
        The version that served at the start: what there would be without retraining.
    """

    since: datetime
    until: datetime
    step: timedelta
    every: timedelta
    champion: str

    @property
    def id(self) -> str:
        """Its name on disk, for example ``20131001-20140101``."""
        return _name(self.since, self.until)

    def stop_after(self, now: datetime) -> datetime:
        """Return where the step that begins now ends: a turn or the end may cut it short."""
        turns = (now - self.since) // self.every + 1
        return min(now + self.step, self.since + turns * self.every, self.until)

    def turn_is_due(self, now: datetime) -> bool:
        """Whether monitoring takes its turn before anything is predicted."""
        return now > self.since and (now >= self.until or (now - self.since) % self.every == timedelta(0))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data; durations in seconds."""
        return {
            "id": self.id,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "step": self.step.total_seconds(),
            "every": self.every.total_seconds(),
            "champion": self.champion,
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Plan:
        """Read :meth:`as_dict` back."""
        since, until = (datetime.fromisoformat(given[name]) for name in ("since", "until"))
        step, every = (timedelta(seconds=given[name]) for name in ("step", "every"))
        return cls(since, until, step, every, str(given["champion"]))


def plan(
    repo: FeatureRepo,
    since: datetime,
    until: datetime,
    *,
    step: timedelta | None = None,
    every: timedelta | None = None,
) -> Plan:
    """Return the plan of a replay: the one that was begun, or a new one, which is kept.

    Raises
    ------
    ConfigError
        When the repo's clock is no replay clock, has passed ``since``, or the source ends before ``until``; when the
        repo does not say what is due (``sql/upcoming.sql``); when the replay was begun with another step.
    ModelUnavailable
        When there is no champion to begin with.
    """
    problem, window = repo.problem, Window(since, until)
    folder = repo.layout.replay / _name(window.since, window.until)
    with suppress(FileNotFoundError):
        begun = Plan.from_dict(read_json(folder / "plan.json"))
        _same(begun, step, every)
        return begun
    if problem.data.clock != "replay":
        raise ConfigError(
            f"{problem.name} lives on the {problem.data.clock} clock: its time cannot be made to go by.",
            hint="A replay needs a source of the past and `clock: replay` in problem.yaml.",
        )
    if problem.data.end is not None and window.until > problem.data.end:
        raise ConfigError(
            f"The replay would end at {window.until:%Y-%m-%d}, and the source at {problem.data.end:%Y-%m-%d}.",
            hint="End it earlier.",
        )
    _ = repo.upcoming  # a repo without one is told so now
    now = repo.clock.now()
    if now > window.since:
        raise ConfigError(
            f"It is {now:%Y-%m-%d %H:%M} on the clock of {problem.name}, and {window.since:%Y-%m-%d} has passed.",
            hint="Begin later, or replay on a copy of a repo that stands earlier: docs/replay.md.",
        )
    champion = pointed_version(repo.layout, "champion")
    if champion is None:
        raise ConfigError("There is no champion to begin with.", hint="Run: punctual up --check")
    new = Plan(window.since, window.until, step or STEP, every or EVERY, champion)
    write_json(folder / "plan.json", new.as_dict() | {"started_at": SystemClock().now().isoformat()})
    return new


def _name(since: datetime, until: datetime) -> str:
    return f"{since:%Y%m%d}-{until:%Y%m%d}"


def _same(begun: Plan, step: timedelta | None, every: timedelta | None) -> None:
    for name, given, there in (("step", step, begun.step), ("every", every, begun.every)):
        if given is not None and given != there:
            raise ConfigError(
                f"The replay {begun.id} was begun with --{name} {there}, not {given}.",
                hint=f"Leave --{name} out to go on with it.",
            )


class WithoutPages(Here):
    """Runs a turn's parts without drawing the page of each drift report: that would take longer than all the rest."""

    def task(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Run a task."""
        return super().task(name, **arguments, **({"page": False} if name == "drift" else {}))


def take_turn(repo: FeatureRepo, settings: Settings, since: datetime, until: datetime) -> dict[str, Any]:
    """Take monitoring's turn here and now; see :func:`monitoring.watch.turn`."""
    return turn(repo, settings, since, until, runner=WithoutPages(repo, settings))


class Replay:
    """Goes through a plan, from wherever it is.

    Parameters
    ----------
    repo, settings : FeatureRepo, Settings
        Whose time goes by.
    plan : Plan
        What to go through.
    client : PredictionClient
        The prediction service of this very repo.
    turn : callable
        What monitoring does.
    """

    def __init__(
        self, repo: FeatureRepo, settings: Settings, plan: Plan, client: PredictionClient, *, turn: Turn = take_turn
    ) -> None:
        self.repo, self.settings, self.plan = repo, settings, plan
        self.folder = repo.layout.replay / plan.id
        self._client, self._turn = client, turn
        apply(repo)
        self._store = open_store(repo)
        self._asker = Asker(repo, client, self.folder / "predicted", settings.max_batch)
        self._score = Score(repo, self._asker.folder, plan.since)

    def run(self) -> None:
        """Let time go by up to the plan's end.

        Raises
        ------
        Conflict
            When another process is at it.
        SourceError, DataError, ServiceUnavailable
            What a step fails with; run again, it goes on there.
        """
        try:
            with locked(self.folder / ".lock", wait=False):
                self._run()
        except BlockingIOError as error:
            raise Conflict(f"The replay {self.plan.id} runs already.", hint="Let it, or stop it first.") from error

    def _run(self) -> None:
        plan, clock = self.plan, self.repo.clock
        total = int((plan.until - plan.since) / plan.step)
        with progress(f"Replaying {plan.since:%Y-%m-%d} .. {plan.until:%Y-%m-%d}", total=total) as advance:
            self._catch_up()
            self._score.update(clock.now())
            advance(int((clock.now() - plan.since) / plan.step), note=self._note())
            while True:
                now = clock.now()
                self._take_in(now)
                if plan.turn_is_due(now):
                    self._take_turn(now)
                if now >= plan.until:
                    return
                stop = plan.stop_after(now)
                self._asker.ask(now, stop)
                fetch_window(self.repo, Window(now, stop))
                advance(note=self._note())

    def _catch_up(self) -> None:
        """Bring a clock that stands before the beginning there; nothing is predicted on the way."""
        self._follow_champion()
        while (now := self.repo.clock.now()) < self.plan.since:
            fetch_window(self.repo, Window(now, min(now + self.repo.problem.data.step, self.plan.since)))

    def _take_in(self, now: datetime) -> None:
        validate_all(self.repo)
        transform(self.repo)
        materialize(self._store, now=now)

    def _take_turn(self, now: datetime) -> None:
        path = self.folder / "turns" / f"{now:{_STAMP}}.json"
        if not path.is_file():
            found = self._turn(self.repo, self.settings, now - self.repo.problem.data.step, now)
            serving = pointed_version(self.repo.layout, "champion")
            write_json(path, {"at": now.isoformat(), "champion": serving, "turn": found})
        self._follow_champion()
        self._score.update(now)
        console.print(f"  {self._note()}", soft_wrap=True)

    def _follow_champion(self) -> None:
        """Wait until the service serves what was promoted: on this clock, no time goes by meanwhile."""
        wanted = pointed_version(self.repo.layout, "champion")
        deadline = time.monotonic() + _RELOAD_SECONDS
        while (serving := self._client.models().serving) != wanted:
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"The prediction service serves version {serving}, and not {wanted}, which is the champion here.",
                    hint="Its /health says why. Does it serve this feature repo?",
                )
            time.sleep(0.2)

    def _note(self) -> str:
        return f"{self.repo.clock.now():%Y-%m-%d %H:%M}  {self._asker.count:,} predicted  {self._score.words()}"
