"""What a worker process of a service does first: it loads the service, and makes its app from the settings."""

from __future__ import annotations

import gc
import logging
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from core.errors import PunctualError
from core.logs import setup_logs
from core.repo import FeatureRepo
from core.settings import get_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

log = logging.getLogger("punctual.service")


def create(target: str) -> ASGIApp:
    """Make the app that this process serves: of the repo, and with the logs, that the settings name.

    What is loaded while a service starts stays, so nothing is collected until :func:`loaded`: to look through all of it
    again and again is up to a third of the start.

    Parameters
    ----------
    target : str
        ``module:function``, which makes the app of a repo and settings.

    Raises
    ------
    SystemExit
        When a setting or the repo is wrong; the log says what. No further try would go better.
    """
    gc.disable()
    try:
        settings = get_settings()
        setup_logs(settings.log_level, settings.log_format)
        app: ASGIApp = resolve_name(target)(FeatureRepo.load(settings.feature_repo), settings)
    except PunctualError as error:
        from uvicorn.config import STARTUP_FAILURE  # commands import this module too, and serve nothing

        log.error("the service cannot start: %s", error)
        raise SystemExit(STARTUP_FAILURE) from None
    return app


def loaded() -> None:
    """Collect again from now on, but never what is there already; does nothing where :func:`create` was not called.

    Nothing is looked through for it: what could be thrown away by now is a megabyte.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
