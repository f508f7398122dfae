"""Keeps this machine's copies and pointers in step with a registry that lives elsewhere."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from core.errors import PunctualError
from core.registry import CHALLENGER, CHAMPION, RegistryReader, point, pointed_version, roles_lock

if TYPE_CHECKING:
    from core.repo import FeatureRepo
    from core.settings import Settings

log = logging.getLogger("punctual.registry")

LEAST_SECONDS = 5.0
MOST_SECONDS = 60.0


class RegistrySync:
    """A thread that fetches new champions and challengers and moves the local pointers to them.

    It runs where predictions are served and only where ``PUNCTUAL_MLFLOW_URI`` names an MLflow: the default one is
    written on this machine, and its pointers with it. While MLflow is away the local copies go on; that is logged once,
    and asked again at growing intervals.

    Parameters
    ----------
    repo : FeatureRepo
        Whose model, and where the copies go.
    settings : Settings
        Where MLflow is, and ``model_poll``: the seconds between looks, of which at least 5 are taken.
    least : float
        That least, in seconds.
    """

    def __init__(self, repo: FeatureRepo, settings: Settings, *, least: float = LEAST_SECONDS) -> None:
        self._layout = repo.layout
        self._remote = settings.mlflow_uri is not None
        self._reader = RegistryReader(repo, settings)
        self._seconds = max(settings.model_poll, least)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start looking; without a remote registry there is nothing to do."""
        if self._remote and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="registry-sync", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop looking. A download that hangs is left to end with the process: what it writes is whole or not there."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def look(self) -> bool:
        """Bring copies and pointers up to date once; say whether a pointer moved.

        Raises
        ------
        PunctualError
            When MLflow does not answer, or a version cannot be fetched. The pointers stay where they are.
        """
        roles = self._reader.aliases()
        wanted = {role: roles[role] for role in (CHAMPION, CHALLENGER) if role in roles}
        for version in sorted(set(wanted.values())):
            self._reader.ensure(version)
        with roles_lock(self._layout):
            # Where a role was moved meanwhile, its new version may not be here yet: the next look sees to that.
            return self._reader.aliases() == roles and self._point(wanted)

    def _point(self, wanted: dict[str, str]) -> bool:
        moved = False
        # Nobody takes the champion's role away without giving it to another: an empty registry serves what is here.
        if (champion := wanted.get(CHAMPION)) and champion != pointed_version(self._layout, "champion"):
            point(self._layout, self._reader.name, "champion", champion)
            log.info("champion is now version %s", champion)
            moved = True
        challenger = wanted.get(CHALLENGER)
        if challenger == champion:
            challenger = None
        if challenger != pointed_version(self._layout, "challenger"):
            point(self._layout, self._reader.name, "challenger", challenger)
            moved = True
        return moved

    def _run(self) -> None:
        pause, away = self._seconds, False
        while not self._stop.is_set():
            try:
                self.look()
            except (PunctualError, OSError) as error:
                if not away:
                    log.warning("the registry cannot be followed; the local models go on: %s", error)
                away, pause = True, min(pause * 2, max(MOST_SECONDS, self._seconds))
            else:
                if away:
                    log.warning("the registry answers again")
                away, pause = False, self._seconds
            self._stop.wait(pause)
