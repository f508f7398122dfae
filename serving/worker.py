"""What a worker of the prediction service calls first."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# A thread that writes Parquet or scores for the challenger gives way to requests after so long: Python's own 5 ms would
# be several requests' time.
_SWITCH_SECONDS = 0.0001


def create() -> ASGIApp:
    """Make the app from the settings.

    What is loaded while a service starts stays, so nothing is collected until all of it is there
    (``serving.service.build_app``): looking through it again and again would take a fifth of the start.
    """
    gc.disable()
    from core.service import from_settings
    from serving.service import build_app

    sys.setswitchinterval(_SWITCH_SECONDS)
    return from_settings(build_app)
