"""What was decided, why, and what came of it: one row an action and a window's end, never taken twice.

The row is written before anything is done (``pending``) and closed by what came of it, so that whoever is killed in
between finds what had been decided, and goes on with that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, select

from core.clock import SystemClock
from core.tables import Decision
from monitoring.alarms import plain

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from core.database import Database

Action = Literal["retrain", "rollback"]
# nothing: decided so. looked: would have acted, and was told to look alone. waits: for a second person's approval.
Outcome = Literal["nothing", "looked", "pending", "promoted", "waits", "kept", "rolled back", "failed"]
_COLUMNS = (
    *("id", "action", "at", "champion", "act", "triggers", "reasons", "facts", "outcome", "version", "job"),
    *("created_at", "ended_at"),
)


class Decisions:
    """The decisions on one model.

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

    def take(
        self,
        action: Action,
        at: datetime,
        *,
        act: bool,
        outcome: Outcome,
        champion: str | None,
        triggers: Sequence[str],
        reasons: Sequence[str],
        facts: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Write a decision down, unless one was taken for this action and moment already; return what stands.

        One that was taken while looking alone (``looked``) may be taken anew by whoever may act.
        """
        with self.database.session() as session:
            asked = (Decision.model == self.model, Decision.action == action, Decision.at == at)
            row = session.scalars(select(Decision).where(*asked)).first()
            if row is not None and row.outcome != "looked":
                return as_dict(row)
            if row is None:
                row = Decision(model=self.model, action=action, at=at, created_at=SystemClock().now())
                session.add(row)
            row.act, row.outcome, row.champion = act, outcome, champion
            row.triggers, row.reasons, row.facts = list(triggers), list(reasons), dict(facts)
            row.ended_at = None if outcome == "pending" else SystemClock().now()
            session.flush()
            return as_dict(row)

    def end(
        self,
        decision_id: int,
        outcome: Outcome,
        reasons: Sequence[str],
        *,
        version: str | None = None,
        job: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Note what came of a decision; ``reasons`` and ``facts`` are added to those it was taken with.

        One that has ended is left as it is.
        """
        with self.database.session() as session:
            row = session.get_one(Decision, decision_id)
            if row.outcome == "pending":
                row.outcome, row.ended_at = outcome, SystemClock().now()
                row.reasons, row.facts = [*row.reasons, *reasons], {**row.facts, **(facts or {})}
                row.version, row.job = version, job
            return as_dict(row)

    def give_up(self, *, but: datetime) -> None:
        """End what was left unfinished, but for the decisions at this moment: only one turn is taken at a time."""
        with self.database.session() as session:
            asked = (Decision.model == self.model, Decision.outcome == "pending", Decision.at != but)
            for row in session.scalars(select(Decision).where(*asked)):
                row.outcome, row.ended_at = "failed", SystemClock().now()
                row.reasons = [*row.reasons, "given up: its turn ended before it was carried out"]

    def at(self, action: Action, at: datetime) -> dict[str, Any] | None:
        """Return the decision that was taken for an action and a moment, or None."""
        return next(iter(self._found(Decision.action == action, Decision.at == at)), None)

    def list(self, limit: int = 100, *, action: Action | None = None) -> Sequence[dict[str, Any]]:
        """Return decisions as plain data, newest first."""
        return self._found(*([Decision.action == action] if action else []), limit=limit)

    def last_training(self, before: datetime) -> datetime | None:
        """Return the newest moment before ``before`` at which a training was decided on and carried out."""
        done = Decision.outcome.in_(("promoted", "waits", "kept"))
        trained = (Decision.action == "retrain", done, Decision.at < before)
        with self.database.session(reading=True) as session:
            asked = select(func.max(Decision.at)).where(Decision.model == self.model, *trained)
            return session.scalars(asked).one()

    def looks_at(self, champion: str, previous: str, before: datetime) -> int:
        """Return how often a champion was held against the version before it until ``before``."""
        asked = (Decision.action == "rollback", Decision.champion == champion, Decision.at < before)
        return sum(row["facts"].get("previous") == previous and "low" in row["facts"] for row in self._found(*asked))

    def _found(self, *where: ColumnElement[bool], limit: int | None = None) -> Sequence[dict[str, Any]]:
        asked = select(Decision).where(Decision.model == self.model, *where).order_by(Decision.id.desc()).limit(limit)
        with self.database.session(reading=True) as session:
            return [as_dict(row) for row in session.scalars(asked)]


def as_dict(row: Decision) -> dict[str, Any]:
    """Return a decision as plain data, its moments in ISO form."""
    return plain(row, _COLUMNS)
