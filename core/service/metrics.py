"""Prometheus metrics of a service: requests by route and outcome, and the endpoint that gives them.

With several worker processes, a folder that :mod:`core.server` names lets any of them answer for all.
"""

# ruff: noqa: E402 - the variable below must be right before prometheus_client is imported
from __future__ import annotations

import os
import sys

# prometheus_client decides while it is imported where it counts, by a variable that Feast sets to a folder of its own,
# for whatever process comes after it: here our own variable decides.
METRICS_DIR = "PUNCTUAL_METRICS_DIR"
if "prometheus_client" not in sys.modules:  # where Feast came first, as in tests, it has decided already
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
if METRICS_DIR in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ[METRICS_DIR]

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as generate
from prometheus_client.multiprocess import MultiProcessCollector

from core.service.access import requires

_LABELS = ("service", "method", "route", "status")
# From half a millisecond, where a prediction is, to ten seconds, where a request is about to be cut off.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_requests = Counter("punctual_requests", "Requests answered.", _LABELS)
_seconds = Histogram("punctual_request_seconds", "Seconds from request to answer.", _LABELS[:3], buckets=SECONDS)
_limited = Counter("punctual_rate_limited", "Requests refused by a rate limit.", ("service", "by"))
_up = Gauge("punctual_up", "1 while a worker of the service runs.", ("service",), multiprocess_mode="livesum")


class RequestMetrics:
    """Counts the requests of one service; children are looked up once, because every prediction passes here.

    Parameters
    ----------
    service : str
        The service's name.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def started(self) -> None:
        """Say that a worker runs."""
        _up.labels(self._service).set(1)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (method, route, status)
        found = self._known.get(key)
        if found is None:
            counter = _requests.labels(self._service, method, route, str(status))
            found = self._known[key] = (counter, _seconds.labels(self._service, method, route))
        found[0].inc()
        found[1].observe(seconds)

    def limited(self, by: str) -> None:
        """Count a refusal by the rate limit of a ``key`` or an ``address``."""
        _limited.labels(self._service, by).inc()


def add_metrics(app: FastAPI) -> None:
    """Add ``/metrics`` in Prometheus' text format."""

    @app.get(
        "/metrics",
        tags=["operations"],
        summary="Metrics for Prometheus",
        openapi_extra=requires("read"),
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    def metrics() -> Response:
        return Response(generate(_registry()), media_type=CONTENT_TYPE_LATEST)


def _registry() -> CollectorRegistry:
    if METRICS_DIR not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
