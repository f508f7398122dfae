"""Prometheus metrics of a service: requests by route and outcome, and the endpoint that gives them.

What happens is counted where it happens. With several worker processes, a folder that :mod:`core.server` names lets any
of them answer for all. What can be looked up (jobs, windows, memory) is looked up when Prometheus asks: see
:func:`add_gauges`; so it is right after a restart too.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from fastapi import FastAPI, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    values,
)
from prometheus_client import generate_latest as generate
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from psutil import pid_exists

from core.server import METRICS_DIR
from core.service.access import requires
from core.service.answers import text_answer
from core.service.resources import resources

# prometheus_client decides while it is imported where it counts, by a variable that Feast sets to a folder of its own,
# for whatever process comes after it: here our own variable decides, whoever imported it first.
if METRICS_DIR in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ[METRICS_DIR]
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
else:
    values.ValueClass = values.MutexValue

log = logging.getLogger("punctual.metrics")

_LABELS = ("service", "method", "route", "status")
# A client may send any word as its method; a label takes the known ones.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "other"
_TOLD_SECONDS = 1.0
_EXAMPLE = '# TYPE punctual_up gauge\npunctual_up{service="data"} 1.0\n'
# From half a millisecond, where a prediction is, to ten seconds, where a request is about to be cut off.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_requests = Counter("punctual_requests", "Requests answered.", _LABELS)
_seconds = Histogram("punctual_request_seconds", "Seconds from request to answer.", _LABELS[:3], buckets=SECONDS)
_in_flight = Gauge(
    "punctual_requests_in_flight", "Requests that are being answered.", ("service",), multiprocess_mode="livesum"
)
_limited = Counter("punctual_rate_limited", "Requests refused by a rate limit.", ("service", "by"))
_up = Gauge("punctual_up", "Workers of the service that run.", ("service",), multiprocess_mode="livesum")

Read = Callable[[], Iterable[Metric]]
Key = TypeVar("Key", bound=str | tuple[str, ...])


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
        self._in_flight = 0

    def started(self) -> None:
        """Say that a worker runs."""
        _up.labels(self._service).set(1)

    def begun(self) -> None:
        """Count a request that has come; :meth:`observe` is its end."""
        self._in_flight += 1

    def tell(self) -> None:
        """Say how many requests are in hand; a number that is counted here for each would cost each of them a lock."""
        _in_flight.labels(self._service).set(self._in_flight)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._in_flight -= 1
        key = (method if method in _METHODS else OTHER, route, status)
        found = self._known.get(key)
        if found is None:
            counter = _requests.labels(self._service, key[0], route, str(status))
            found = self._known[key] = (counter, _seconds.labels(self._service, key[0], route))
        found[0].inc()
        found[1].observe(seconds)

    def limited(self, by: str) -> None:
        """Count a refusal by the rate limit of a ``key`` or an ``address``."""
        _limited.labels(self._service, by).inc()


def gauge(name: str, words: str, labels: Sequence[str], values: Mapping[Key, float | None]) -> GaugeMetricFamily:
    """Return a gauge as Prometheus will read it.

    Parameters
    ----------
    name, words : str
        Its name, and what it tells.
    labels : sequence of str
        Label names.
    values : mapping of str, or of tuple of str, to float or None
        The label's value, or those of several labels -> what to tell; None is not told.
    """
    family = GaugeMetricFamily(name, words, labels=labels)
    for key, value in values.items():
        if value is not None:
            family.add_metric((key,) if isinstance(key, str) else key, value)
    return family


def add_gauges(app: FastAPI, name: str, read: Read) -> None:
    """Let ``/metrics`` tell what ``read`` finds, each time that it is asked.

    Parameters
    ----------
    app : FastAPI
        The service.
    name : str
        What these gauges are about. When ``read`` raises, they are left out, all others are told, and
        ``punctual_gauges_failing`` is 1 for this name.
    read : callable
        Gives gauges, within a second: Prometheus waits. It runs in a thread of its own.
    """
    app.state.gauges[name] = read


def add_told(app: FastAPI, tell: Callable[[], None]) -> None:
    """Let each worker call ``tell`` once a second, and when it answers Prometheus.

    For what is in a worker's own memory, where no other worker can look. It is called in the event loop, between
    requests, and must not wait for anything.
    """
    app.state.told.append(tell)


async def keep_told(app: FastAPI) -> None:
    """Call what :func:`add_told` was given, for as long as the worker runs."""
    while True:
        _tell(app)
        await asyncio.sleep(_TOLD_SECONDS)


def add_metrics(app: FastAPI, service: str) -> None:
    """Add ``/metrics`` in Prometheus' text format."""
    app.state.told = [app.state.metrics.tell]
    app.state.gauges = {"resources": lambda: resources(service)}

    @app.get(
        "/metrics",
        tags=["operations"],
        summary="Metrics for Prometheus",
        openapi_extra=requires("read"),
        response_class=Response,
        responses={200: text_answer("The metrics, in Prometheus' text format.", "text/plain", _EXAMPLE)},
    )
    async def metrics() -> Response:
        _tell(app)
        text = await asyncio.to_thread(_text, _LookedUp(service, app.state.gauges))
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _text(looked_up: _LookedUp) -> bytes:
    registry = CollectorRegistry()
    registry.register(_counted())
    registry.register(looked_up)
    return generate(registry)


def _tell(app: FastAPI) -> None:
    for tell in app.state.told:
        tell()


class _LookedUp:
    """Collects what :func:`add_gauges` was given."""

    def __init__(self, service: str, gauges: Mapping[str, Read]) -> None:
        self._service, self._gauges = service, gauges

    def collect(self) -> Iterator[Metric]:
        failing: dict[tuple[str, ...], float] = {}
        for name, read in self._gauges.items():
            try:
                found, failed = list(read()), False
            except Exception as error:  # noqa: BLE001 - whatever it is, the other metrics are told
                log.warning(
                    "gauges could not be read", extra={"gauges": name, "detail": f"{type(error).__name__}: {error}"}
                )
                found, failed = [], True
            failing[self._service, name] = float(failed)
            yield from found
        words = "1 for what could not be looked up for this answer, and is left out of it."
        yield gauge("punctual_gauges_failing", words, ("service", "gauges"), failing)


def _counted() -> CollectorRegistry | MultiProcessCollector:
    """Return what was counted, by all workers."""
    if METRICS_DIR not in os.environ:
        return REGISTRY
    _forget_dead(Path(os.environ[METRICS_DIR]))
    return MultiProcessCollector(None)  # type: ignore[no-untyped-call]


def _forget_dead(folder: Path) -> None:
    """Remove the gauges of workers that are gone: a worker that is killed cannot take back that it runs."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*.db")}:
        if not pid_exists(pid):
            with suppress(FileNotFoundError):  # another worker was as quick
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
