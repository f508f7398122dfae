"""What a turn decides and does about models: rolling back what got worse, training when the policy says so.

Each decision is written down before it is carried out; one that was taken already is gone on with, not taken again.
Between the steps nothing is asked but their results, so that a durable job that is resumed takes the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.errors import ModelUnavailable, PunctualError
from core.jobs import words
from monitoring import messages, retrain
from monitoring.policy import Seen, decide
from training.ledger import Ledger, as_dict

if TYPE_CHECKING:
    from core.client import TrainingClient
    from core.notify import Notifier
    from core.problem import Problem
    from core.windows import Window
    from monitoring.alarms import Alarms
    from monitoring.decisions import Decisions, Outcome
    from monitoring.watch import Runner

Row = dict[str, Any]
_LEDGER = 500
_GIVEN_UP: tuple[Outcome, list[str]] = ("kept", ["this decision was given up meanwhile"])


@dataclass(frozen=True)
class Actions:
    """The decisions of one turn.

    Attributes
    ----------
    problem : Problem
        Its ``retraining`` section is the policy.
    window : Window
        The turn's window; decisions are taken at its end.
    act : bool
        Whether to carry them out, or to write down alone what would have been done.
    """

    problem: Problem
    window: Window
    act: bool
    runner: Runner
    alarms: Alarms
    decisions: Decisions
    notifier: Notifier
    training: Callable[[], TrainingClient]

    def roll_back(self, champion: str | None) -> Row | None:
        """Undo a promotion that made things worse; return the decision, None where there was nothing to undo."""
        row = self.runner.step("rollback", lambda: self._judge_champion(champion))
        if row is None or row["outcome"] != "pending":
            return row

        def carry_out() -> tuple[Outcome, list[str]]:
            if self._pending("rollback") is None:
                return _GIVEN_UP
            with closing(self.training()) as client:
                return retrain.roll_back(client, row["champion"], row["facts"]["previous"], row["reasons"])

        outcome, reasons = self._tried("roll back", carry_out)
        version = row["facts"]["previous"] if outcome == "rolled back" else None
        ended = self.runner.step("record rollback", lambda: self._end(row, outcome, reasons, version=version))
        self._tell("notify rollback", lambda: messages.of_rollback(self.problem, ended))
        return ended

    def train(self, champion: str | None, trained_at: str | None, looks: Mapping[str, Row]) -> Row:
        """Train again if the policy says so, and promote what is better beyond noise; return the decision."""
        row = self.runner.step("decide", lambda: self._decide(champion, trained_at, looks))
        if row["outcome"] != "pending":
            return row
        self._tell("notify training", lambda: messages.of_start(self.problem, row))
        outcome, reasons, made = self._carry_out(row)
        ended = self.runner.step("record training", lambda: self._end(row, outcome, reasons, **made))
        self._tell("notify outcome", lambda: messages.of_outcome(self.problem, ended))
        return ended

    def _carry_out(self, row: Row) -> tuple[Outcome, list[str], Row]:
        """Train, judge and promote; return what came of it, why, and what was made."""
        made: Row = {}
        try:
            trained = self.runner.step("train", lambda: self._train(row))
            made = {"version": trained.get("version"), "job": trained["job"]}
            contest = self.runner.step("judge", lambda: self._contest(row, trained))
        except PunctualError as error:
            return "failed", [words(error)], made
        made["facts"] = {"contest": contest}
        better, reasons = retrain.worthy(trained, contest)
        if not better:
            return "kept", reasons, made
        outcome, more = self._tried("promote", lambda: self._promote(row, trained["version"], reasons))
        return outcome, [*reasons, *more], made

    def _judge_champion(self, champion: str | None) -> Row | None:
        """Hold the champion against the one before it, on what the champion itself predicted."""
        if not self.problem.retraining.rollback:
            return None
        found = Ledger(self.decisions.database, self.decisions.model).history(_LEDGER)
        pair = retrain.rollback_pair([as_dict(row) for row in found], champion)
        if pair is None:
            return self._pending("rollback")
        champion, previous = pair
        policy, at = self.problem.retraining, self.window.until
        # The more often one looks, the more often chance alone would say "worse": the k-th look has 1/(k(k+1)) of the
        # probability of error, which adds up to no more than the whole however many looks there are.
        look = 1 + self.decisions.looks_at(champion, previous, at)
        confidence = 1 - (1 - policy.confidence) / (look * (look + 1))
        try:
            contest = self._held_against(previous, champion, confidence, version=champion)
        except PunctualError as error:
            contest = {"why": words(error)}
        worse, reasons = retrain.worse_than_before(contest)
        return self.decisions.take(
            "rollback",
            at,
            act=worse and self.act,
            outcome=("pending" if self.act else "looked") if worse else "nothing",
            champion=champion,
            triggers=["performance"] if worse else [],
            reasons=[f"version {champion} does {'worse' if worse else 'no worse'} than version {previous}", *reasons],
            facts={"previous": previous, "look": look, **contest},
        )

    def _pending(self, action: Any) -> Row | None:
        """Return the decision of this window that was not carried out to its end."""
        found = self.decisions.at(action, self.window.until)
        return found if found and found["outcome"] == "pending" else None

    def _decide(self, champion: str | None, trained_at: str | None, looks: Mapping[str, Row]) -> Row:
        drift = looks["drift"]
        dropped = drift.get("performance") or {}
        seen = Seen(
            now=self.window.until,
            trained_at=datetime.fromisoformat(trained_at) if trained_at else None,
            new_rows=int(looks["truth"].get("new", 0)),
            drift=" ".join(drift["reasons"]) if drift.get("verdict") == "drift" else None,
            drop=dropped["words"] if dropped.get("drifted") else None,
        )
        decision = decide(self.problem.retraining, seen)
        return self.decisions.take(
            "retrain",
            self.window.until,
            act=decision.retrain and self.act,
            outcome=("pending" if self.act else "looked") if decision.retrain else "nothing",
            champion=champion,
            triggers=decision.triggers,
            reasons=decision.words,
            facts={
                "seen": asdict(seen) | {"now": seen.now.isoformat(), "trained_at": trained_at},
                "report": drift.get("id"),
            },
        )

    def _train(self, row: Row) -> Row:
        with closing(self.training()) as client:
            return retrain.train(client, row, self.runner.beat)

    def _contest(self, row: Row, trained: Row) -> Row | None:
        if not trained.get("trained") or not trained.get("passed") or row["champion"] is None:
            return None
        try:
            return self._held_against(trained["version"], row["champion"], self.problem.retraining.confidence)
        except ModelUnavailable as error:
            return {"why": words(error), "champion": row["champion"]}

    def _held_against(self, challenger: str, champion: str, confidence: float, version: str | None = None) -> Row:
        policy, until = self.problem.retraining, self.window.until
        return self.runner.task(
            "contest",
            challenger=challenger,
            champion=champion,
            since=(until - policy.window).isoformat(),
            until=until.isoformat(),
            confidence=confidence,
            min_rows=policy.min_rows,
            version=version,
        )

    def _promote(self, row: Row, version: str, reasons: list[str]) -> tuple[Outcome, list[str]]:
        if self._pending("retrain") is None:
            return _GIVEN_UP
        with closing(self.training()) as client:
            return retrain.promote(client, version, row["champion"], reasons)

    def _tried(self, step: str, carry_out: Callable[[], tuple[Outcome, list[str]]]) -> tuple[Outcome, list[str]]:
        try:
            outcome, reasons = self.runner.step(step, carry_out)
        except PunctualError as error:
            return "failed", [words(error)]
        return outcome, reasons

    def _end(self, row: Row, outcome: Outcome, reasons: list[str], **made: Any) -> Row:
        ended = self.decisions.end(row["id"], outcome, reasons, **made)
        subject, at = row["action"], self.window.until
        if outcome == "failed":
            self.alarms.raise_alarm("retraining", subject, "; ".join(reasons), at=at, facts={"decision": row["id"]})
        else:
            self.alarms.clear("retraining", subject, f"the next one went through: {outcome}", at=at)
        return ended

    def _tell(self, step: str, message: Callable[[], Any]) -> None:
        self.runner.step(step, lambda: self.notifier.send(message()))
