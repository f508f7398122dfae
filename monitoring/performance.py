"""How good the predictions were, by window, model version and slice, once the truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.files import read_json, write_json
from core.windows import Window, as_utc
from monitoring.truth_store import TruthStore

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from core.repo import FeatureRepo

MOST_VALUES = 20  # of a slice column, by number of predictions in the window
OTHER, MISSING = "other", "missing"
_METRICS = ("auc", "average_precision", "brier", "log_loss", "f1", "precision", "recall")


@dataclass(frozen=True)
class Performance:
    """The metrics of one model version in one window, whole or of one slice.

    Attributes
    ----------
    since, until : datetime
        The window of ``predicted_at``, half-open.
    model_version : str
        Whose predictions.
    slice : dict of str to str, optional
        ``{column: value}``; None for all rows. A value is ``"other"`` for all but the most frequent ones, and
        ``"missing"`` where there is none.
    rows, positives : int
        Predictions that count, and how many of them came out positive.
    waiting : int
        Predictions whose label is not known yet, of several for one row of the spine one.
    auc, average_precision, brier, log_loss, f1, precision, recall : float, optional
        As :func:`training.evaluate.scores` has them, decisions as they were served; None where only one class occurs.
    """

    since: datetime
    until: datetime
    model_version: str
    slice: dict[str, str] | None
    rows: int
    positives: int
    waiting: int
    auc: float | None = None
    average_precision: float | None = None
    brier: float | None = None
    log_loss: float | None = None
    f1: float | None = None
    precision: float | None = None
    recall: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON data; moments as ISO 8601 text."""
        return {**asdict(self), "since": self.since.isoformat(), "until": self.until.isoformat()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Performance:
        """Read back what :meth:`as_dict` gave."""
        moments = {name: datetime.fromisoformat(content[name]) for name in ("since", "until")}
        return cls(**{**content, **moments})


def performance(
    repo: FeatureRepo, since: datetime, until: datetime, *, step: timedelta, version: str | None = None
) -> list[Performance]:
    """Return the performance in each window of length ``step`` from ``since`` on, the last one cut at ``until``.

    Results are kept: a window is computed again only when its truth has changed (:func:`monitoring.truth.update_truth`
    comes first). Kept are windows of the whole ``step`` that begin on a whole minute, so let ``since`` be a midnight,
    say, and not the moment of the call.

    Returns
    -------
    list of Performance
        In the order of time and model version, all rows first, then slices, largest first; windows without a
        prediction are left out.
    """
    store = TruthStore(repo.layout)
    found: list[Performance] = []
    for start, end in _windows(as_utc(since), as_utc(until), step):
        keep = end - start == step and not (start.second or start.microsecond)
        found += _kept(repo, store, start, end) if keep else _results(repo, store, start, end)
    return [one for one in found if version is None or one.model_version == version]


def refresh_performance(repo: FeatureRepo) -> list[Window]:
    """Compute every window that was kept again whose truth has changed since; return those that came out otherwise.

    So labels that come late, or are corrected, reach windows of long ago.
    """
    store, changed = TruthStore(repo.layout), []
    for window in map(Window.parse, sorted(path.stem for path in _folder(repo).glob("[!.]*.json"))):
        path = _path(repo, window.since, window.until)
        before = read_json(path)["results"]
        after = _kept(repo, store, window.since, window.until)
        if [one.as_dict() for one in after] != before:
            changed.append(window)
    return changed


def stored_performance(repo: FeatureRepo) -> list[Performance]:
    """Return everything :func:`performance` has kept, in the order of time, without computing anything.

    What was kept of windows of several lengths stands side by side; ``until - since`` tells them apart.
    """
    paths = sorted(_folder(repo).glob("[!.]*.json"))
    return [Performance.from_dict(one) for path in paths for one in read_json(path)["results"]]


def newest_measured(repo: FeatureRepo, length: timedelta) -> list[Performance]:
    """Return what was kept of the newest window of a length in which any label is known, of all its versions."""
    known = [one for one in stored_performance(repo) if one.rows and one.until - one.since == length]
    newest = max((one.until for one in known), default=None)
    return [one for one in known if one.until == newest]


def _windows(since: datetime, until: datetime, step: timedelta) -> Iterator[tuple[datetime, datetime]]:
    while since < until:
        yield since, min(since + step, until)
        since += step


def _kept(repo: FeatureRepo, store: TruthStore, since: datetime, until: datetime) -> list[Performance]:
    """Return what was kept of a window, or compute it and keep it."""
    path = _path(repo, since, until)
    made_from = {"truth": store.fingerprint(since, until), "slices": repo.problem.slices}
    kept = read_json(path) if path.is_file() else {}
    if kept.get("made_from") == made_from:
        return [Performance.from_dict(one) for one in kept["results"]]
    results = _results(repo, store, since, until)
    if results or kept:
        write_json(path, {"made_from": made_from, "results": [one.as_dict() for one in results]})
    return results


def _results(repo: FeatureRepo, store: TruthStore, since: datetime, until: datetime) -> list[Performance]:
    slices, positive = repo.problem.slices, repo.problem.label.positive
    rows = store.read(since, until, slices)
    rows = rows.filter(rows.column("first"))
    results = []
    for version in sorted(pc.unique(rows.column("model_version")).to_pylist(), key=_by_number):
        own = rows.filter(pc.equal(rows.column("model_version"), version))
        results.append(Performance(since, until, version, None, **_measured(own, positive)))
        for column in slices:
            if own.column(column).null_count < own.num_rows:
                results += [
                    Performance(since, until, version, {column: value}, **_measured(part, positive))
                    for value, part in _by_value(own, column)
                ]
    return results


def _by_value(rows: pa.Table, column: str) -> Iterator[tuple[str, pa.Table]]:
    """Return the rows of each of the most frequent values, largest first, and those of the others together."""
    values = pc.fill_null(rows.column(column), MISSING)
    counts = sorted(pc.value_counts(values).to_pylist(), key=lambda c: (-c["counts"], c["values"]))
    if len(counts) > MOST_VALUES:
        kept = pa.array([c["values"] for c in counts[:MOST_VALUES]], pa.string())
        values = pc.if_else(pc.is_in(values, value_set=kept), values, OTHER)
        counts = [*counts[:MOST_VALUES], {"values": OTHER}]
    for value in dict.fromkeys(c["values"] for c in counts):
        yield value, rows.filter(pc.equal(values, value))


def _measured(rows: pa.Table, positive: str) -> dict[str, Any]:
    """Return the metrics of some rows, each of which counts, and how many of them wait."""
    from training.evaluate import scores  # scikit-learn takes a while, and listing what is kept needs none of it

    counting = rows.filter(pc.is_valid(rows.column("label")))
    y = counting.column("label").to_numpy().astype(int)
    probability = counting.column("probability").to_numpy()
    called = probability[pc.equal(counting.column("class"), positive).to_numpy()]
    # Decisions are judged as they were served: the lowest probability that was called positive is the threshold.
    threshold = float(called.min()) if len(called) else math.inf
    facts = {"rows": len(y), "positives": int(y.sum()), "waiting": rows.column("label").null_count}
    if len(np.unique(y)) < 2:
        return facts
    measured = scores(y, probability, threshold)
    return facts | {name: measured[name] for name in _METRICS}


def _by_number(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isdigit() else (-1, version)


def _path(repo: FeatureRepo, since: datetime, until: datetime) -> Path:
    return _folder(repo) / f"{Window(since, until).id}.json"


def _folder(repo: FeatureRepo) -> Path:
    return repo.layout.monitoring / "performance"
