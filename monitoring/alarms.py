"""Alarms: opened once, brought up to date while they last, cleared with a reason.

An alarm is about a *subject* (a feature view, a metric, the drift test) and of a *kind*. There is at most one open alarm of
a kind about a subject. Moments are on the problem's clock, as the windows are; ``created_at`` is the machine's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from core.database import Database

Kind = Literal["drift", "performance", "freshness", "skew", "missing", "retraining"]
State = Literal["open", "cleared"]


class Alarms:
    """The alarms of one model.

    Parameters
    ----------
    database : Database
        Where the table is.
    model : str
        The problem's name.

    Raises
    ------
    DatabaseUnavailable
        From every method, when the database does not answer.
    """

    def __init__(self, database: Database, model: str) -> None:
        self.database = database
        self.model = model

    def raise_alarm(
        self,
        kind: Kind,
        subject: str,
        words: str,
        *,
        at: datetime,
        value: float | None = None,
        threshold: float | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> bool:
        """Open an alarm, or bring the open one up to date.

        Returns
        -------
        bool
            Whether it was opened by this call.
        """
        raise NotImplementedError

    def clear(self, kind: Kind, subject: str, why: str, *, at: datetime) -> bool:
        """End the open alarm of a kind about a subject; say whether there was one."""
        raise NotImplementedError

    def acknowledge(self, alarm_id: int, *, actor: str) -> dict[str, Any]:
        """Note that somebody has seen an alarm and takes care of it; it stays open until its cause is gone.

        Raises
        ------
        NotFound
            When there is no such alarm.
        """
        raise NotImplementedError

    def list(self, state: State | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return alarms as plain data, newest first."""
        raise NotImplementedError
