"""Typed clients of the four services, for services, the command and the dashboard."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ValidationError

from core.answers import JobView, Models, Prediction, strange, view
from core.conditions import Condition
from core.errors import JobFailed, ServiceUnavailable, TimedOut
from core.files import read_secret
from core.http import HttpClient
from core.places import Name, service_url

if TYPE_CHECKING:
    from core.layout import Layout
    from core.settings import Settings

Layer = Literal["raw", "valid", "quarantine", "features"]
_POLL_SECONDS = 0.5


class _Client:
    """What the clients share."""

    name: Name

    def __init__(self, http: HttpClient) -> None:
        self.http = http

    @classmethod
    def local(cls, settings: Settings, layout: Layout, *, key: str | None = None) -> Self:
        """Return a client for the service that the settings name.

        Parameters
        ----------
        settings : Settings
            URLs, key, certificate.
        layout : Layout
            Where this machine's own key is, if the settings have none.
        key : str, optional
            Key or session token to use instead.
        """
        configured = settings.api_key.get_secret_value() if settings.api_key else None
        own = key or configured or read_secret(layout.secrets / "service.key")
        return cls(HttpClient(service_url(settings, cls.name), cls.name, key=own, certificate=settings.tls_cert))

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def job(self, job_id: str) -> JobView:
        """Return a job of this service."""
        return view(JobView, self.http.call("GET", f"{self._jobs}/{job_id}"))

    def wait(
        self, job_id: str, *, timeout: float | None = None, each: Callable[[JobView], None] | None = None
    ) -> JobView:
        """Wait for a job to be over, as long as it takes; a service that is away for a while does not matter.

        Parameters
        ----------
        job_id : str
            The job.
        timeout : float, optional
            Seconds after which to give up waiting; the job goes on.
        each : callable, optional
            Sees the job as it goes on.

        Raises
        ------
        JobFailed
            When it failed or was cancelled.
        TimedOut
            When it is not over in time.
        ServiceUnavailable
            When the service is away for more than a minute.
        """
        start = answered = time.monotonic()
        while True:
            try:
                job = self.job(job_id)
                answered = time.monotonic()
            except ServiceUnavailable:
                if time.monotonic() - answered > 60:
                    raise
            else:
                if each is not None:
                    each(job)
                if job.status == "done":
                    return job
                if job.over:
                    raise JobFailed(f"The job {job_id} {job.status}: {job.error or 'no reason was given'}.")
            if timeout is not None and time.monotonic() - start > timeout:
                raise TimedOut(f"The job {job_id} is not over after {timeout:g} s.", hint="It goes on by itself.")
            time.sleep(_POLL_SECONDS)

    @property
    def _jobs(self) -> str:
        return "/jobs"

    def _start(self, path: str, body: Mapping[str, Any], idempotency_key: str | None) -> JobView:
        headers = {"idempotency-key": idempotency_key} if idempotency_key else None
        # With a key, the same start twice is one job.
        answer = self.http.call("POST", path, json=body, headers=headers, retry=idempotency_key is not None)
        return view(JobView, answer)


class DataClient(_Client):
    """Calls the data service."""

    name = "data"

    def start(
        self,
        step: Literal["import", "validate", "apply", "preprocess", "materialize", "dataset"],
        body: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> JobView:
        """Start one step as a job."""
        return self._start(f"/data/{step}", body or {}, idempotency_key)

    def run_flow(self, *, idempotency_key: str | None = None) -> JobView:
        """Start the whole flow, from import to a reloaded champion."""
        return self._start("/flow/run", {}, idempotency_key)

    def versions(self) -> list[dict[str, Any]]:
        """Return the data versions, newest first."""
        return list(self.http.call("GET", "/data/versions").json()["versions"])

    def preview(
        self, table: str, layer: Layer = "raw", where: Sequence[Condition] = (), **asked: Any
    ) -> dict[str, Any]:
        """Return rows of a table that fulfil the conditions: ``limit``, ``columns``, ``sort``, ``descending``."""
        return self._look("preview", table, layer, where, asked)

    def profile(
        self, table: str, layer: Layer = "raw", where: Sequence[Condition] = (), **asked: Any
    ) -> dict[str, Any]:
        """Return what is in each column of a table, of the rows that fulfil the conditions: ``columns``."""
        return self._look("profile", table, layer, where, asked)

    def _look(
        self, what: str, table: str, layer: Layer, where: Sequence[Condition], asked: Mapping[str, Any]
    ) -> dict[str, Any]:
        params = {"table": table, "layer": layer, "where": [str(one) for one in where], **asked}
        return dict(self.http.call("GET", f"/data/{what}", params=params).json())


class TrainingClient(_Client):
    """Calls the training service."""

    name = "training"

    def train(self, body: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None) -> JobView:
        """Start a training job; the gate promotes what deserves it if ``promote`` is true."""
        return self._start("/training/train", body or {}, idempotency_key)

    def models(self) -> dict[str, Any]:
        """Return the registered versions with their aliases and metrics."""
        return dict(self.http.call("GET", "/training/models").json())

    def promotions(self, limit: int = 50) -> list[dict[str, Any]]:
        """Return the ledger's rows, newest first."""
        answer = self.http.call("GET", "/training/promotions", params={"limit": limit})
        return list(answer.json()["promotions"])

    def promote(self, version: str, reason: str, *, expected: str | None = None, notify: bool = True) -> dict[str, Any]:
        """Make a version champion, or ask for a second person's approval.

        Parameters
        ----------
        version, reason : str
            Which, and why.
        expected : str, optional
            The champion that was found worse: when it is another by now, nothing is done (:class:`Conflict`).
        notify : bool
            False where the caller tells people itself.
        """
        body = _reason(reason, expected, notify)
        return dict(self.http.call("POST", f"/training/models/{version}/promote", json=body).json())

    def rollback(self, reason: str, *, expected: str | None = None, notify: bool = True) -> dict[str, Any]:
        """Make the previous champion the champion again; ``expected`` and ``notify`` as for :meth:`promote`."""
        return dict(self.http.call("POST", "/training/rollback", json=_reason(reason, expected, notify)).json())

    @property
    def _jobs(self) -> str:
        return "/training/jobs"


class PredictionClient(_Client):
    """Calls the prediction service."""

    name = "prediction"

    def predict(self, entities: Sequence[Mapping[str, Any]], *, what_if: bool = False) -> list[Prediction]:
        """Return one prediction an entity, in order; of a ``what_if`` monitoring takes no account.

        A retry would be a second prediction in the log, which does no harm: the call is repeated when it failed.
        """
        body = {"entities": list(entities), **({"what_if": True} if what_if else {})}
        answer = self.http.call("POST", "/predict", json=body, retry=True)
        try:
            return [Prediction.model_validate(p) for p in answer.json()["predictions"]]
        except (ValidationError, KeyError, TypeError) as error:
            raise strange(answer, error) from error

    def models(self) -> Models:
        """Return what it has at hand, and what it serves."""
        return view(Models, self.http.call("GET", "/models/available"))

    def explain(self, prediction_id: str) -> dict[str, Any]:
        """Return what made a prediction what it was."""
        return dict(self.http.call("GET", f"/explain/{prediction_id}").json())


class MonitoringClient(_Client):
    """Calls the monitoring service."""

    name = "monitoring"

    def run(self, body: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None) -> JobView:
        """Start a turn: over ``since`` to ``until`` if given, looking alone if ``act`` is false."""
        return self._start("/monitoring/run", body or {}, idempotency_key)

    def test_drift(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> JobView:
        """Start a drift test over ``since`` to ``until``, of ``version`` if given."""
        return self._start("/monitoring/drift", body, idempotency_key)

    def reports(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return drift reports, newest first."""
        return list(self._get("drift", limit=limit)["reports"])

    def report_file(self, report_id: str, kind: Literal["html", "json"]) -> bytes:
        """Return a drift report as a file; the page runs scripts: show it in a sandbox alone."""
        return self.http.call("GET", f"/monitoring/drift/{report_id}/report.{kind}").body

    def performance(self, **asked: Any) -> list[dict[str, Any]]:
        """Return performance by window, version and slice: ``since``, ``until``, ``hours``, ``version``, ``slices``."""
        return list(self._get("performance", **asked)["windows"])

    def predictions(self, **asked: Any) -> list[dict[str, Any]]:
        """Return logged predictions, the one that was served last first.

        Parameters
        ----------
        **asked
            ``since``, ``until``, ``class``, ``version``, ``entity``, ``what_if``, ``actor``, ``limit``.
        """
        return list(self._get("predictions", **asked)["predictions"])

    def statistics(self, **asked: Any) -> dict[str, Any]:
        """Return how many predictions there were: ``since``, ``until``, ``bucket``, ``what_if``."""
        return self._get("statistics", **asked)

    def alarms(self, state: Literal["open", "cleared"] | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return alarms, newest first."""
        return list(self._get("alarms", state=state, limit=limit)["alarms"])

    def acknowledge(self, alarm_id: int) -> dict[str, Any]:
        """Say that an alarm was seen."""
        return dict(self.http.call("POST", f"/monitoring/alarms/{alarm_id}/acknowledge").json())

    def decisions(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return what was decided on retraining and rollback, newest first."""
        return list(self._get("decisions", limit=limit)["decisions"])

    def turns(self, limit: int = 20) -> list[dict[str, Any]]:
        """Return what the turns found, newest first."""
        return list(self._get("turns", limit=limit)["turns"])

    def _get(self, what: str, **asked: Any) -> dict[str, Any]:
        params = {name: value for name, value in asked.items() if value is not None}
        return dict(self.http.call("GET", f"/monitoring/{what}", params=params).json())


def _reason(reason: str, expected: str | None, notify: bool) -> dict[str, Any]:
    return {"reason": reason, "expected": expected, "notify": notify}
