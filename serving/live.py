"""What serves right now, and how it changes: a new champion is loaded beside the old one and takes over whole.

Each worker looks at the local pointers, and at the version of the Feast definitions: what they newly promise holds
within a look, for all workers. A model that cannot be loaded, or does not fit the features, is refused: the last good
one goes on, with the definitions that it was loaded with, and /health says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError, ModelUnavailable
from core.model import HEADER, PredictionModel
from core.registry import pointed_version
from serving import model_store
from serving.log import PredictionIds, PredictionLog
from serving.lookup import Lookup
from serving.predict import Predictor
from serving.request import RequestReader
from serving.resolve import Needs, needs
from stores.registry import open_store, registry_version

if TYPE_CHECKING:
    from core.registry import Role
    from core.repo import FeatureRepo
    from core.settings import Settings
    from serving.metrics import PredictionMetrics
    from serving.shadow import Shadow

log = logging.getLogger("punctual.models")

_RETRY_SECONDS = 10.0  # what was refused may have been mended in a place that is not looked at


@dataclass(frozen=True)
class Served:
    """What answers a request: taken once, after the body has arrived, so that no answer is of two models."""

    predictor: Predictor
    reader: RequestReader
    registry: str  # the version of the Feast definitions that both were made from


@dataclass
class Following:
    """What is known of one pointer."""

    seen: object = None  # what the files looked like when they were last acted on
    tried: float = 0.0
    refused: str = ""


class Live:
    """The champion and the challenger of one worker.

    Parameters
    ----------
    repo : FeatureRepo
        Whose pointers are followed.
    settings : Settings
        ``model_poll`` and ``max_batch``.
    log, metrics, shadow
        What every predictor writes to.
    on_change : callable
        Told the needs of a champion when it takes over.
    """

    def __init__(
        self,
        repo: FeatureRepo,
        settings: Settings,
        log: PredictionLog,
        metrics: PredictionMetrics,
        shadow: Shadow | None,
        on_change: Callable[[Needs], None],
    ) -> None:
        self._repo, self._settings = repo, settings
        self._log, self._metrics, self._shadow, self._on_change = log, metrics, shadow, on_change
        self._ids = PredictionIds()
        self._served: Served | None = None
        self._champion, self._challenger = Following(), Following()
        self._registry: tuple[int | None, str | None] = (None, None)  # when it was written, and its version
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def served(self) -> Served:
        """What serves.

        Raises
        ------
        ModelUnavailable
            While there is no champion, or none that can be served.
        """
        if self._served is None:
            if self._champion.refused:
                raise ModelUnavailable(self._champion.refused)
            raise model_store.no_champion()
        return self._served

    @property
    def needs(self) -> Needs:
        """What a prediction needs.

        Raises
        ------
        ModelUnavailable
            While there is no champion.
        """
        return self.served.predictor.lookup.needs

    def facts(self) -> dict[str, Any]:
        """Return what /health tells of the champion.

        Raises
        ------
        ModelUnavailable
            While there is none to serve.
        """
        return {"version": self.served.predictor.model.version, **_degraded(self._champion)}

    def challenger_facts(self) -> dict[str, Any]:
        """Return what /health tells of the challenger; without one there is nothing wrong."""
        model = self._shadow.challenger if self._shadow else None
        return {"version": model.version if model else None, **_degraded(self._challenger)}

    async def start(self) -> None:
        """Load what the pointers name, and follow them from now on."""
        await self.look()
        self._keep(self._follow())

    async def close(self) -> None:
        """Stop following, and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.catch_up()
        if self._served is not None:
            self._served.predictor.lookup.close()

    def catch_up(self) -> None:
        """Do what is left to do of predictions that were made."""
        if self._served is not None:
            self._served.predictor.catch_up()

    async def look(self) -> None:
        """Act on the pointers, if they or what they name have changed."""
        await self._look("champion", self._champion, self._take_champion)
        if self._shadow is not None:
            await self._look("challenger", self._challenger, self._take_challenger)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._settings.model_poll)
            await self.look()

    async def _look(self, role: Role, following: Following, take: Callable[[str | None], Any]) -> None:
        now = asyncio.get_running_loop().time()
        try:
            version = pointed_version(self._repo.layout, role)
            looks = (version, _written(self._repo.layout.models / f"{version}" / HEADER), self._applied())
            due = bool(following.refused) and now - following.tried >= _RETRY_SECONDS
            if looks == following.seen and not due:
                return
            following.seen, following.tried = looks, now
            await take(version)
            following.refused = ""
        except Exception as error:  # noqa: BLE001 - unpickling runs the model's own code; serving goes on whatever it does
            words = (
                str(error) if isinstance(error, ModelUnavailable | ConfigError) else f"{type(error).__name__}: {error}"
            )
            if words != following.refused:
                log.error("a model was refused", extra={"role": role, "detail": words, "serving": self.serving})
            following.refused, following.tried = words, now

    def _applied(self) -> str | None:
        """Return the version of the definitions, which is read where it was written again; None before there is one."""
        written = _written(self._repo.layout.data / "registry.json")
        if written != self._registry[0]:
            self._registry = (written, None if written is None else registry_version(self._repo))
        return self._registry[1]

    async def _take_champion(self, version: str | None) -> None:
        if version is None:
            return  # nobody takes the role away without giving it to another: what serves goes on
        served = await asyncio.to_thread(self._load, version)
        await served.predictor.lookup.warm()
        before, self._served = self._served, served
        self._metrics.serving(version)
        self._on_change(served.predictor.lookup.needs)
        log.info("the champion is version %s, with the definitions %s", version, served.registry)
        if before is not None and before.predictor.lookup is not served.predictor.lookup:
            self._keep(_close(before.predictor))

    async def _take_challenger(self, version: str | None) -> None:
        model = await asyncio.to_thread(model_store.load, self._repo.layout, version) if version else None
        if self._shadow is not None:
            self._shadow.use(model)

    def _load(self, version: str) -> Served:
        model = model_store.load(self._repo.layout, version)
        registry = registry_version(self._repo)
        served = self._served
        if served is not None and served.registry == registry:
            lookup, reader = served.predictor.lookup, served.reader
        else:
            store = open_store(self._repo)
            wanted = needs(self._repo, store)
            lookup = Lookup(store, wanted, keep=self._settings.kept_rows)
            reader = RequestReader(wanted, self._settings.max_batch)
        return Served(self._predictor(lookup, model), reader, registry)

    def _predictor(self, lookup: Lookup, model: PredictionModel) -> Predictor:
        predictor = Predictor(
            lookup, model, self._repo.clock, self._log, self._ids, metrics=self._metrics, shadow=self._shadow
        )
        predictor.warm()
        return predictor

    @property
    def model(self) -> PredictionModel | None:
        """The model that this process answers with; None before there is one."""
        return self._served.predictor.model if self._served else None

    @property
    def serving(self) -> str | None:
        """The version that this process answers with; None before there is one."""
        return self.model.version if self.model else None

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _written(file: Path) -> int | None:
    """Return when a file was written, None if it is not there."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _degraded(following: Following) -> dict[str, Any]:
    return {"status": "degraded", "detail": following.refused} if following.refused else {}


async def _close(predictor: Predictor) -> None:
    """Close the connections of what no longer serves, once its last request is answered."""
    while not predictor.idle:
        await asyncio.sleep(0.05)
    predictor.lookup.close()
