"""The flow: import, validate, preprocess, materialize, train, gate, promote, reload, as one durable job.

The first four are stages that run here. Training, gate and promotion are one job of the training service, started with
this job's id as idempotency key, so that there is one training however often this side is cut off. The last step waits
until the prediction service serves what was promoted.

A step that fails leaves what is in use as it is: features are added, not replaced, and the champion's pointer moves
last.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from core.client import PredictionClient, TrainingClient
from core.clock import SystemClock
from core.errors import ServiceUnavailable, Unavailable
from core.jobs import CRASHED, Work, carried_out, words
from core.notify import Message
from ingestion.flow_runs import FlowRuns

if TYPE_CHECKING:
    from core.answers import JobView
    from core.notify import Notifier
    from ingestion.steps import Steps

log = logging.getLogger("punctual.flow")

Trigger = Literal["hand", "schedule", "new-data"]
KIND = "flow"
STEPS = ("begin", "plan", "import", "validate", "preprocess", "materialize", "train", "reload", "record", "notify")
RELOAD_SECONDS = 120.0
_LOOK_SECONDS = 0.5
_Result = TypeVar("_Result")


class Flow:
    """Runs the flow; :meth:`run` is the job's function.

    Parameters
    ----------
    steps : Steps
        The steps on data.
    training : callable
        Gives a client of the training service.
    prediction : callable
        Gives a client of the prediction service.
    runs : FlowRuns
        Where runs are recorded, with the audit record of how each ended.
    notifier : Notifier
        Who is told at the end.
    """

    def __init__(
        self,
        steps: Steps,
        *,
        training: Callable[[], TrainingClient],
        prediction: Callable[[], PredictionClient],
        runs: FlowRuns,
        notifier: Notifier,
    ) -> None:
        self._steps = steps
        self._training = training
        self._prediction = prediction
        self._runs = runs
        self._notifier = notifier

    def run(self, work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run it; what has come of it is recorded and told, whether it went well or not.

        Parameters
        ----------
        work : Work
            The job.
        arguments : dict
            ``trigger``: ``hand``, ``schedule`` or ``new-data``.

        Returns
        -------
        dict
            ``outcome`` (``promoted``, ``waits``: a second person must approve it, ``kept`` or ``nothing new``),
            ``window``, ``data_version``, ``model_version``, ``serving``, ``reasons``.

        Raises
        ------
        PunctualError
            What the step that failed, failed with.
        """
        trigger = str(arguments["trigger"])
        facts: dict[str, Any] = {"trigger": trigger}
        self._try(work, "begin", lambda: self._runs.begin(work.id, trigger, work.actor))
        try:
            self._advance(work, trigger, facts)
        except Exception as error:  # whatever it was, the run has ended
            self._end(work, "failed", facts | {"outcome": "failed", "error": words(error)})
            raise
        self._end(work, "done", facts)
        return facts

    def cancelled(self, run_id: str) -> None:
        """Record and tell that somebody has cancelled a run: its job is stopped and does not get to that."""
        self._stopped(run_id, "cancelled", {})

    def given_up(self, run_id: str) -> None:
        """Record and tell that a run took its process with it too often; it does not get to that either."""
        self._stopped(run_id, "failed", {"error": CRASHED})

    def _stopped(self, run_id: str, status: str, facts: dict[str, Any]) -> None:
        run = self._runs.stopped(run_id, status, facts | {"outcome": status})
        if run is not None:
            message = _message(run_id, run["actor"], status, {"trigger": run["trigger"], **run["result"]})
            # Who cancels does not wait for a receiver that is away.
            threading.Thread(target=self._notifier.send, args=(message,), name="notify", daemon=True).start()

    def _advance(self, work: Work, trigger: str, facts: dict[str, Any]) -> None:
        steps = self._steps
        window, nothing = self._try(work, "plan", lambda: self._plan(work.id, trigger))
        facts["window"] = window
        if nothing:
            facts["outcome"] = "nothing new"
            return
        if window is not None:
            facts["import"] = self._try(work, "import", lambda: steps.fetch(work, window))
        facts["validate"] = self._try(work, "validate", lambda: steps.validate(work))
        self._try(work, "preprocess", lambda: steps.preprocess(work))

        def materialize() -> str:
            steps.materialize(work)
            return steps.version(work)

        facts["data_version"] = self._try(work, "materialize", materialize)
        trained = self._try(work, "train", lambda: self._train(work))
        facts |= trained
        facts["outcome"] = "promoted" if trained["promoted"] else "waits" if trained["waits"] else "kept"
        facts["serving"] = self._try(work, "reload", lambda: self._reload(work, trained))

    def _plan(self, run_id: str, trigger: str) -> tuple[str | None, bool]:
        """Return the window to import, and whether there is nothing to do at all.

        That is for a schedule alone, and where nothing waits to be gone on with: a window, or a run that stopped.
        """
        window = self._steps.plan({})
        if window is not None or trigger != "schedule" or self._steps.waits():
            return window, False
        before = next((run for run in self._runs.latest(2) if run["id"] != run_id), None)
        return None, before is None or before["status"] == "done"

    def _try(self, work: Work, name: str, function: Callable[[], _Result]) -> _Result:
        return work.step(name, function, attempts=self._steps.attempts, pause=self._steps.pause)

    def _train(self, work: Work) -> dict[str, Any]:
        """Have it trained, judged and, if it deserves it, promoted; wait for that."""
        # A retry is a new training: the old one's failure would be the answer again.
        key = work.id if work.attempt == 1 else f"{work.id}-{work.attempt}"
        with closing(self._training()) as client:
            job = client.train({"promote": True, "notify": False}, idempotency_key=key)
            work.log(f"training job {job.id}")

            def beat(view: JobView) -> None:
                work.check()
                work.advance(view.progress, view.step or "")

            result = carried_out(client, job, beat)
        return {
            "training_job": job.id,
            "model_version": _text(result.get("version")),
            "promoted": bool(result.get("promoted")),
            "waits": bool(result.get("waits")),
            "reasons": list(result.get("reasons") or []),
        }

    def _reload(self, work: Work, trained: dict[str, Any]) -> str | None:
        """Wait until the prediction service serves the promoted version; return what it serves."""
        with closing(self._prediction()) as client:
            if not trained["promoted"]:
                try:
                    return client.models().serving
                except Unavailable as error:  # nothing has changed for it, so it need not be there
                    work.log(words(error))
                    return None
            wanted = trained["model_version"]
            deadline = SystemClock().now().timestamp() + RELOAD_SECONDS
            while (serving := client.models().serving) != wanted:
                work.check()
                if SystemClock().now().timestamp() > deadline:
                    raise ServiceUnavailable(
                        f"The prediction service serves version {serving}, not yet the promoted {wanted}.",
                        hint="Its log says why; the promotion stands.",
                    )
                work.pause(_LOOK_SECONDS)
            return serving

    def _end(self, work: Work, status: str, facts: dict[str, Any]) -> None:
        self._try(work, "record", lambda: self._runs.end(work.id, status, facts))
        work.step("notify", lambda: self._notifier.send(_message(work.id, work.actor, status, facts)))


def _message(run_id: str, actor: str, status: str, facts: dict[str, Any]) -> Message:
    if status == "failed":
        text = f"{facts['error']}\n\nWhat was in use before still is. Mend the cause, then retry the job {run_id}."
    elif status == "cancelled":
        text = f"What was in use before still is. To go on with it, retry the job {run_id}."
    elif facts["outcome"] == "promoted":
        text = f"Version {facts['model_version']} is the champion now; {facts['serving']} is served."
    elif facts["outcome"] == "waits":
        text = f"Version {facts['model_version']} waits for a second person's approval; until then the champion stays."
    elif facts["outcome"] == "kept":
        text = "The champion stays: " + (
            "; ".join(map(str, facts["reasons"])) or "the gate did not let the new one pass."
        )
    else:
        text = "There was nothing new to import."
    subject = f"punctual: flow {status}" + (f": {facts['outcome']}" if facts["outcome"] != status else "")
    return Message(f"flow.{status}", subject, text, {"flow": run_id, "actor": actor, **facts})


def start_key(trigger: Trigger, moment: datetime, window: str = "") -> str:
    """Return the idempotency key of a flow that no person starts: one an hour a window, one a moment of the schedule.

    A window that could not be taken in is tried again in the next hour, not at every look.
    """
    return f"{trigger}-{window}-{moment:%Y%m%dT%H}" if trigger == "new-data" else f"{trigger}-{moment:%Y%m%dT%H%M%S}"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
