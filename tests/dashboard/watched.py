"""Something to look back at: predictions of two weeks, a drift report of each, truth, and an alarm."""

from __future__ import annotations

from pathlib import Path

from core.database import database
from monitoring.alarms import Alarms
from monitoring.drift import check_drift
from monitoring.performance import performance
from monitoring.truth import update_truth
from tests.dashboard import stack as stacks
from tests.dashboard.stack import Stack
from tests.monitoring.drift_world import START, WEEK, reference, serve, window
from tests.monitoring.log_world import LogWorld
from tests.serving.world import settings_of

ALARM = "values moved in *many* features"
BROKEN = "noise"


def build(folder: Path) -> Stack:
    """Bring up the loans, with what was seen of the champion, and nothing running yet."""
    made = stacks.build(folder)
    repo = made.world.repo
    reference().save(repo.layout.models / "2")
    log = LogWorld(folder)
    calm, loud = window(900), window(900, seed=2, noise=[7.5] * 900)
    serve(log, calm, version="2", since=START - WEEK)
    serve(log, loud, version="2")
    for until, page in ((START, False), (START + WEEK, True)):
        check_drift(repo, until - WEEK, until, version="2", settings=settings_of(repo), page=page)
    update_truth(repo)
    performance(repo, START - WEEK, START + WEEK, step=WEEK)
    alarms = Alarms(database(repo, settings_of(repo)), repo.problem.name)
    alarms.raise_alarm("drift", "default_risk", ALARM, at=START + WEEK, value=0.5, threshold=0.3)
    return made
