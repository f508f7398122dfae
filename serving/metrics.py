"""What Prometheus learns of predictions. Every prediction passes here: labels are resolved once, not per request."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain, compress
from typing import TYPE_CHECKING, Any

from prometheus_client import Counter, Gauge, Histogram, Metric

from core.errors import ModelUnavailable
from core.service import gauge

if TYPE_CHECKING:
    from core.clock import Clock
    from serving.live import Live
    from serving.log import Made, PredictionLog

_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
# A histogram of probabilities as labels of one counter: one step for all predictions of a kind, not several for each.
_predictions = Counter(
    "punctual_predictions",
    "Predictions made, by class, version, and the tenth that the probability lies in (0.3: from 0.3 to 0.4).",
    ("class", "model_version", "probability"),
)
_TENTHS = (*(f"{tenth / 10:.1f}" for tenth in range(10)), "0.9")  # certainty is of the last tenth
_lookup = Histogram(
    "punctual_feature_lookup_seconds", "Seconds to read the features of what is answered together.", buckets=_FAST
)
_model = Histogram("punctual_model_seconds", "Seconds of a model call.", buckets=_FAST)
_batch = Histogram(
    "punctual_batch_size", "Entities that are answered together.", buckets=(1, 2, 4, 8, 16, 32, 64, 256, 1000)
)
_missing = Counter("punctual_missing_features", "Predictions made without a value of a feature.", ("feature",))
_stale = Counter("punctual_stale_views", "Predictions made with a view older than it promises.", ("view",))
_waiting = Gauge(
    "punctual_prediction_log_waiting", "Predictions that wait for the log's disk.", multiprocess_mode="livesum"
)
_lag = Gauge(
    "punctual_prediction_log_lag_seconds",
    "How long the prediction that has waited longest has waited for the log's disk; 0 where none waits.",
    multiprocess_mode="livemax",
)
_serving = Gauge(
    "punctual_model_info", "1 for the version that a worker serves with.", ("version",), multiprocess_mode="livemax"
)
_shadow = Counter("punctual_shadow", "What became of predictions picked for the challenger.", ("outcome",))


class PredictionMetrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        self._predictions: dict[tuple[str, str, int], Any] = {}
        self._stale: dict[str, Any] = {}
        self._missing: Tally[str] = Tally()
        self._shadow: dict[str, Any] = {}
        self._version = ""

    def looked_up(self, seconds: float) -> None:
        """Take the seconds of a feature lookup."""
        _lookup.observe(seconds)

    def scored(self, seconds: float) -> None:
        """Take the seconds of a model call."""
        _model.observe(seconds)

    def predicted(self, made: Made, gaps: Sequence[str]) -> None:
        """Count predictions that were made together; a what-if is none that counts.

        Parameters
        ----------
        gaps : sequence of str
            The features of which some value may be missing: no others are looked through.
        """
        own, version = made.own, made.shared["model_version"]
        _batch.observe(len(made))
        classes, probabilities, stale, places = own["class"], own["probability"], own["stale"], made.places
        if True in (tried := own["what_if"]):
            counts = [not one for one in tried]
            classes, probabilities, stale, places = (
                list(compress(column, counts)) for column in (classes, probabilities, stale, places)
            )
        kinds = Tally(zip(classes, [int(probability * 10) for probability in probabilities], strict=True))
        for (label, tenth), count in kinds.items():
            child = self._predictions.get((label, version, tenth))
            if child is None:
                child = _predictions.labels(label, version, _TENTHS[tenth])
                self._predictions[label, version, tenth] = child
            child.inc(count)
        for view, count in Tally(chain.from_iterable(stale)).items():
            counter = self._stale.get(view) or self._stale.setdefault(view, _stale.labels(view))
            counter.inc(count)
        for name in gaps:
            if count := list(map(made.features[name].__getitem__, places)).count(None):
                self._missing[name] += count

    def tell(self, log: PredictionLog) -> None:
        """Say what features were missing since the last time, and how far the log's disk is behind."""
        _waiting.set(log.lag.waiting)
        _lag.set(log.waited())
        for name, count in self._missing.items():
            _missing.labels(name).inc(count)
        self._missing.clear()

    def serving(self, version: str) -> None:
        """Say which version serves from now on."""
        if self._version and self._version != version:
            _serving.labels(self._version).set(0)
        self._version = version
        _serving.labels(version).set(1)

    def shadowed(self, outcome: str, count: int = 1) -> None:
        """Count predictions that the challenger ``scored``, or why not: ``dropped``, ``no_features``, ``failed``."""
        child = self._shadow.get(outcome) or self._shadow.setdefault(outcome, _shadow.labels(outcome))
        child.inc(count)


def model_gauges(live: Live, clock: Clock) -> Iterator[Metric]:
    """Give the age of the model that answers: how long ago, on the problem's clock, the data it was trained on ends.

    A model that was made without that note has no age.
    """
    ages: dict[str, float] = {}
    with suppress(ModelUnavailable):
        model = live.served.predictor.model
        if until := model.metadata.get("trained_until"):
            ages[model.version] = (clock.now() - datetime.fromisoformat(until)).total_seconds()
    yield gauge(
        "punctual_model_age_seconds", "Age of the newest data that the model was trained on.", ("version",), ages
    )
