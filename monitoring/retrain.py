"""Has models trained, promoted and rolled back by the training service: what is asked for twice happens once.

Training carries an idempotency key; a promotion or rollback, the champion that it was decided against. A version that
was once rolled back is never promoted from here again, and a champion that came by a rollback is not rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import Conflict
from core.jobs import carried_out

if TYPE_CHECKING:
    from core.answers import JobView
    from core.client import TrainingClient
    from monitoring.decisions import Outcome

_REASON = 500  # what the training service takes


def train(
    client: TrainingClient, decision: Mapping[str, Any], beat: Callable[[float | None, str], None]
) -> dict[str, Any]:
    """Have a model trained, not promoted, and wait for it.

    Parameters
    ----------
    client : TrainingClient
        Asked to train, once a decision however often this is called.
    decision : mapping
        The row of the decision to train.
    beat : callable
        Hears of progress. What it raises ends the waiting and, unless the service just stops, the training too.

    Returns
    -------
    dict
        The training job's result, and its id as ``job``.

    Raises
    ------
    JobFailed, ServiceUnavailable
        When the training failed, or the service is away.
    """
    # Another database may number its rows alike, but not at the same moment.
    key = f"monitoring-{decision['id']}-{decision['created_at']}"
    job = client.train({"promote": False}, idempotency_key=key)

    def tell(view: JobView) -> None:
        beat(view.progress, f"training: {view.step or view.status}")

    return {**carried_out(client, job, tell), "job": job.id}


def worthy(trained: Mapping[str, Any], contest: Mapping[str, Any] | None) -> tuple[bool, list[str]]:
    """Say whether a trained version deserves to be champion, and why (not).

    Parameters
    ----------
    trained : mapping
        The training job's result, with the gate's word on the snapshot's test rows.
    contest : mapping, optional
        What :func:`monitoring.judge.contest` found of it against the champion on live rows; None where there was no
        champion: then the gate's word alone decides. A contest that could not judge is none that was won.
    """
    if not trained.get("trained"):
        return False, list(trained.get("reasons", ())) or ["nothing was trained"]
    version = trained["version"]
    gate = "; ".join(map(str, trained.get("reasons", ())))
    if not trained.get("passed"):
        return False, [f"version {version} did not pass the gate: {gate}"]
    reasons = [f"version {version} passed the gate: {gate}"]
    if contest is None:
        return True, [*reasons, "there was no champion to hold it against"]
    if "low" not in contest:
        stays = f"no judgement on live rows: {contest['why']}; version {contest['champion']} stays the champion"
        return False, [*reasons, f"{stays}, unless somebody promotes version {version} by hand"]
    return contest["low"] > 0, [*reasons, _gained(contest)]


def worse_than_before(contest: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """Say whether the version before the champion would have done better than it, beyond noise, and the words for it.

    Parameters
    ----------
    contest : mapping
        What :func:`monitoring.judge.contest` found, the version before the champion being the challenger.
    """
    if "low" not in contest:
        return False, [f"no judgement on live rows: {contest['why']}"]
    return contest["low"] > 0, [_gained(contest)]


def rollback_pair(ledger: Sequence[Mapping[str, Any]], champion: str | None) -> tuple[str, str] | None:
    """Return the champion and the version that it could be rolled back to; None where there is nothing to undo.

    Parameters
    ----------
    ledger : sequence of mapping
        Rows of the promotion ledger, newest first.
    champion : str or None
        The version that is served.
    """
    active = next((row for row in ledger if row["status"] == "active" and row["action"] != "request"), None)
    if active is None or active["version"] != champion or active["action"] != "promote":
        return None
    previous = active["previous_version"]
    if previous is None or was_rolled_back(ledger, previous):
        return None
    return str(champion), str(previous)


def was_rolled_back(ledger: Sequence[Mapping[str, Any]], version: str) -> bool:
    """Say whether a version was champion and was rolled back."""
    return any(
        r["action"] == "rollback" and r["status"] != "refused" and r["previous_version"] == version for r in ledger
    )


def promote(client: TrainingClient, version: str, champion: str, reasons: Sequence[str]) -> tuple[Outcome, list[str]]:
    """Promote a version over the champion that it was better than; return what came of it, and why.

    Asked again after a kill, it finds its own promotion done.
    """
    if was_rolled_back(client.promotions(500), version):
        return "kept", [f"version {version} was rolled back once: it is not promoted again"]
    try:
        row = client.promote(version, _reason(reasons), expected=champion, notify=False)
    except Conflict as error:
        if client.models()["roles"].get("champion") == version:
            return "promoted", []
        return "kept", [f"not promoted: {error.message}"]
    return ("promoted", []) if row["status"] == "active" else ("waits", ["a second person must approve it"])


def roll_back(
    client: TrainingClient, champion: str, previous: str, reasons: Sequence[str]
) -> tuple[Outcome, list[str]]:
    """Put the version before the champion in its place again; asked again after a kill, it finds that done."""
    roles = client.models()["roles"]
    if roles.get("champion") == champion and roles.get("previous") != previous:
        return "kept", [
            f"not rolled back: the registry has {roles.get('previous') or 'none'} as previous, not {previous}"
        ]
    try:
        client.rollback(_reason(reasons), expected=champion, notify=False)
    except Conflict as error:
        if client.models()["roles"].get("champion") != previous:
            return "kept", [f"not rolled back: {error.message}"]
    return "rolled back", []


def _gained(contest: Mapping[str, Any]) -> str:
    new, old = contest["values"]
    return (
        f"{contest['metric']} of version {contest['challenger']} is {new:.4f}, of version {contest['champion']} "
        f"{old:.4f}, on the same {contest['rows']:,} live rows that neither learned from: {contest['gain']:+.4f}, with "
        f"{100 * contest['confidence']:.4g} % confidence between {contest['low']:+.4f} and {contest['high']:+.4f}"
    )


def _reason(reasons: Sequence[str]) -> str:
    words = " ".join(f"monitoring: {'; '.join(reasons)}".split())
    return words if len(words) <= _REASON else f"{words[: _REASON - 1]}…"
