"""The record of flow runs: who or what started each, when, on which data, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from core.auth.audit import record
from core.clock import SystemClock
from core.tables import FlowRun

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from core.database import Database


class FlowRuns:
    """Rows of ``flow_runs``, one a run, by the id of its job.

    Parameters
    ----------
    database : Database
        That of accounts and audit.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, run_id: str, trigger: str, actor: str) -> None:
        """Note that a run has begun; one that goes on after it was cut off or retried keeps its beginning.

        Raises
        ------
        DatabaseUnavailable
            When it cannot be kept; nothing has been done then.
        """
        with self._database.session() as session:
            run = session.get(FlowRun, run_id)
            if run is None:
                now = SystemClock().now()
                session.add(
                    FlowRun(id=run_id, trigger=trigger, actor=actor, started_at=now, status="running", result={})
                )

    def end(self, run_id: str, status: str, facts: dict[str, Any]) -> None:
        """Note how a run has ended, with an audit record.

        Parameters
        ----------
        run_id : str
            The run.
        status : str
            ``done`` or ``failed``.
        facts : dict
            What has come of it; ``data_version`` and ``model_version`` get columns of their own.
        """
        with self._database.session() as session:
            run = session.get_one(FlowRun, run_id)
            run.data_version = facts.get("data_version")
            run.model_version = facts.get("model_version")
            _ended(session, run, status, facts)

    def stopped(self, run_id: str, status: str, facts: dict[str, Any]) -> dict[str, Any] | None:
        """Note that a run was stopped from outside, with an audit record, and return its row.

        Parameters
        ----------
        run_id : str
            The run; one that has not begun or is over stays as it is, and the answer is None.
        status : str
            ``cancelled`` or ``failed``.
        facts : dict
            What is known of it.
        """
        with self._database.session() as session:
            run = session.get(FlowRun, run_id)
            if run is None or run.status != "running":
                return None
            return _ended(session, run, status, facts)

    def again(self, run_id: str) -> None:
        """Note that a run goes on, retried."""
        with self._database.session() as session:
            run = session.get(FlowRun, run_id)
            if run is not None:
                run.ended_at, run.status = None, "running"

    def latest(self, limit: int = 50) -> list[dict[str, Any]]:
        """Return runs, newest first."""
        with self._database.session(reading=True) as session:
            found = session.scalars(select(FlowRun).order_by(FlowRun.started_at.desc()).limit(limit))
            return [as_dict(run) for run in found]


def _ended(session: Session, run: FlowRun, status: str, facts: dict[str, Any]) -> dict[str, Any]:
    """End a run in a transaction, with its audit record: both are there or neither is. Return its row."""
    run.ended_at, run.status, run.result = SystemClock().now(), status, facts
    row = as_dict(run)
    record(session, run.actor, "flow", run.id, status, detail=_audit_line(row))
    return row


def as_dict(run: FlowRun) -> dict[str, Any]:
    """Return a run as plain data."""
    names = ("id", "trigger", "actor", "started_at", "ended_at", "status", "data_version", "model_version", "result")
    return {name: getattr(run, name) for name in names}


def _audit_line(run: dict[str, Any]) -> dict[str, Any]:
    """Return what the audit log says of a run: trigger, data, model and outcome."""
    result = run["result"]
    return {
        "trigger": run["trigger"],
        "data_version": run["data_version"],
        "model_version": run["model_version"],
        "outcome": result.get("outcome"),
        "error": result.get("error"),
    }
