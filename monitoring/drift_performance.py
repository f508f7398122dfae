"""Whether a model does worse than on its test rows, beyond what windows of that length vary anyway."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from monitoring.drift_tests import adjust

if TYPE_CHECKING:
    from core.problem import Drift
    from core.windows import Window

_NAMES = {"auc": "AUC", "brier": "Brier score"}


def performance_drift(
    test: Mapping[str, Any], truth: pa.Table, limits: Drift, length: timedelta, earlier: Window | None = None
) -> dict[str, Any] | None:
    """Compare the labelled predictions of a window with the test rows of their model.

    A metric has drifted when it is worse than in the test rows' own windows by at least ``drift.max_drop``, and a new
    window of theirs would hardly be so bad: the one-sided prediction interval of Student's t, adjusted for two
    metrics. Where the test rows hold fewer than five windows, the standard errors of both sides take their place.

    Parameters
    ----------
    test : mapping
        What :func:`training.reference.measured` gave of the test rows.
    truth : pyarrow.Table
        n predictions: ``predicted_at``, ``probability``, ``label`` (0 or 1).
    limits : Drift
        Of problem.yaml.
    length : timedelta
        Of the window.
    earlier : Window, optional
        Where the predictions are not those of the window that is tested for drift: whose they are.

    Returns
    -------
    dict or None
        ``rows``, ``positives``, ``compared_with`` (windows of which length, or None), ``window`` (id of ``earlier``, or
        None), ``drifted``, ``words``, and for each metric ``reference``, ``current``, ``worse`` (by how much), ``low``
        and ``high`` (95 % interval of that), ``p_value``, ``adjusted_p``, ``drifted``. None where there are fewer than
        ``drift.min_rows`` labels, or one class alone.
    """
    from training.reference import MEASURED, usual_length

    y = truth.column("label").to_numpy().astype(int)
    if len(y) < limits.min_rows or y.min() == y.max():
        return None
    windows = usual_length(test["windows"], length)
    found = {name: _compare(name, test, truth, test["windows"].get(windows)) for name in MEASURED}
    for metric, p in zip(found.values(), adjust([m["p_value"] for m in found.values()]), strict=True):
        metric["adjusted_p"] = p
        metric["drifted"] = metric["worse"] >= limits.max_drop and p < limits.alpha
    against = f"windows of {windows} of the test rows" if windows else "the test rows"
    said = [_words(name, metric, against) for name, metric in found.items()]
    which = f" These are of {earlier}, the newest that have them." if earlier else ""
    return {
        "rows": len(y),
        "positives": int(y.sum()),
        "compared_with": windows,
        "window": earlier and earlier.id,
        **found,
        "drifted": any(metric["drifted"] for metric in found.values()),
        "words": f"{'; '.join(said)}. {len(y):,} labels.{which}",
    }


def _compare(name: str, test: Mapping[str, Any], truth: pa.Table, windows: Mapping[str, Any] | None) -> dict[str, Any]:
    from scipy.stats import norm, t

    from training.reference import value_and_error, value_of

    y, probability = truth.column("label").to_numpy().astype(int), truth.column("probability").to_numpy()
    if windows:
        before, k = windows[name]["mean"], windows["count"]
        now, spread = value_of(name, y, probability), t(k - 1)
        error = windows[name]["deviation"] * math.sqrt(1 + 1 / k)
    else:
        now, own = value_and_error(name, y, probability, truth.column("predicted_at"), seed=0)
        before, error, spread = test[name], math.hypot(test[f"{name}_error"], own), norm
    error = max(error, 1e-12)  # of test rows that never vary: then any difference counts
    worse = (before - now) * (-1 if name == "brier" else 1)
    reach = float(spread.ppf(0.975)) * error
    return {
        "reference": before,
        "current": now,
        "worse": worse,
        "low": worse - reach,
        "high": worse + reach,
        "p_value": float(spread.sf(worse / error)),
    }


def _words(name: str, metric: Mapping[str, Any], against: str) -> str:
    how = "worse" if metric["drifted"] else "no worse than usual"
    return (
        f"{_NAMES[name]} {metric['current']:.3f}, {metric['reference']:.3f} in {against}: {how} "
        f"(by {metric['worse']:+.3f}, 95 % between {metric['low']:+.3f} and {metric['high']:+.3f})"
    )
