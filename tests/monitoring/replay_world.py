"""The loans repo with time to let go by: a real prediction service, and the real client without a socket between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from core.answers import Prediction
from core.client import PredictionClient
from core.files import write_json
from core.http import Answer, _refusal
from core.repo import FeatureRepo
from monitoring.replay import Plan, Replay, plan
from monitoring.truth import update_truth
from tests.asgi import Api
from tests.conftest import free_port
from tests.ingestion.loans import Loans
from tests.serving import world as worlds
from tests.serving.world import World

SINCE = datetime(2024, 3, 1, tzinfo=UTC)  # where the first window ends
DAYS = 3
UNTIL = SINCE + timedelta(days=DAYS)
STEP = timedelta(hours=12)


class Killed(BaseException):
    """What a kill -9 leaves behind: nothing more is done."""


class Wire:
    """What an ``HttpClient`` is for a client, over an app in this process."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def call(self, method: str, path: str, *, json: Any = None, **_: Any) -> Answer:
        response = self.api.request(method, path, json=json)
        answer = Answer("prediction", response.status_code, response.headers, response.content)
        if response.is_error:
            raise _refusal(answer)
        return answer


class Client(PredictionClient):
    """Asks for predictions, and dies when it has got its so-manieth answer.

    Attributes
    ----------
    asked : list of int
        Entities in each request.
    """

    def __init__(self, api: Api, die_at: int | None = None) -> None:
        super().__init__(Wire(api))  # type: ignore[arg-type]
        self.asked: list[int] = []
        self._die_at = die_at

    def predict(self, entities: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        answers = super().predict(entities)
        self.asked.append(len(entities))
        if len(self.asked) == self._die_at:
            raise Killed
        return answers


class Turns:
    """Monitoring as far as a replay needs it: labels come in, and a better model takes over once."""

    def __init__(self, promote_at: datetime | None = None, die_at: datetime | None = None) -> None:
        self.taken: list[tuple[datetime, datetime]] = []
        self._promote_at, self._die_at = promote_at, die_at

    def __call__(self, repo: FeatureRepo, settings: Any, since: datetime, until: datetime) -> dict[str, Any]:
        if until == self._die_at:
            raise Killed
        self.taken.append((since, until))
        update_truth(repo)
        if until == self._promote_at:
            promote(repo, "2")
        return {"until": until.isoformat()}


def build(folder: Path, served: World) -> World:
    """Copy the world that is served, with an online store of its own, and payments that are known on the hour.

    So whatever hour the clock stands at, something becomes known at that very moment.
    """
    world = served.copy_to(folder, port=free_port())
    Loans(folder).source_gives('tables["payments"]["known_at"] = tables["payments"]["known_at"].dt.floor("h")')
    world.server.start()
    return world


def promote(repo: FeatureRepo, version: str) -> None:
    """Train on what is known by now, and let the pointer say so."""
    worlds.fit(repo, version)
    write_json(repo.layout.models / "champion.json", {"name": repo.problem.name, "version": version})


@contextmanager
def served_by(world: World) -> Iterator[Api]:
    """Run the prediction service; at its end its log is on disk, as it is when its process is stopped."""
    with worlds.service(world.repo, model_poll=0.05) as api:
        yield api


def replay(world: World, turns: Turns, *, die_at: int | None = None) -> tuple[Plan, Client]:
    """Start the replay, or go on with it; raises :class:`Killed` where it is told to die."""
    repo, settings = world.repo, worlds.settings_of(world.repo)
    chosen = plan(repo, SINCE, UNTIL, step=STEP)
    with served_by(world) as api:
        client = Client(api, die_at)
        Replay(repo, settings, chosen, client, turn=turns).run()
    return chosen, client
