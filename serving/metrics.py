"""What Prometheus learns of predictions. Every prediction passes here: labels are resolved once, not per request."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
# A histogram of probabilities as labels of one counter: one step for all predictions of a kind, not several for each.
_predictions = Counter(
    "punctual_predictions",
    "Predictions made, by class, version, and the tenth that the probability lies in (0.3: from 0.3 to 0.4).",
    ("class", "model_version", "probability"),
)
_TENTHS = tuple(f"{tenth / 10:.1f}" for tenth in range(10))
_lookup = Histogram(
    "punctual_feature_lookup_seconds", "Seconds to read the features of what is answered together.", buckets=_FAST
)
_model = Histogram("punctual_model_seconds", "Seconds of a model call.", buckets=_FAST)
_stale = Counter("punctual_stale_views", "Predictions made with a view older than it promises.", ("view",))
_waiting = Gauge(
    "punctual_prediction_log_waiting", "Predictions that wait for the log's disk.", multiprocess_mode="livesum"
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
        self._shadow: dict[str, Any] = {}
        self._version = ""

    def looked_up(self, seconds: float) -> None:
        """Take the seconds of a feature lookup."""
        _lookup.observe(seconds)

    def scored(self, seconds: float) -> None:
        """Take the seconds of a model call."""
        _model.observe(seconds)

    def predicted(self, records: Sequence[dict[str, Any]], waiting: int) -> None:
        """Count logged predictions, and how many wait for the disk."""
        kinds = [(r["class"], r["model_version"], min(int(r["probability"] * 10), 9)) for r in records]
        for key, count in Tally(kinds).items():
            child = self._predictions.get(key)
            if child is None:
                child = self._predictions[key] = _predictions.labels(key[0], key[1], _TENTHS[key[2]])
            child.inc(count)
        for view, count in Tally([view for record in records for view in record["stale"]]).items():
            counter = self._stale.get(view) or self._stale.setdefault(view, _stale.labels(view))
            counter.inc(count)
        _waiting.set(waiting)

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
