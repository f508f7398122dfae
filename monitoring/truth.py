"""Joins labels to logged predictions, once they are known: what was said, and what came to pass.

Truth is kept a file a day of ``predicted_at``: ``data/monitoring/truth/<YYYY-MM-DD>.parquet``. A day's file depends on
that day's predictions and on the labels alone, so days may be written in any order, and a kill between two does no
harm. Which of several predictions for the same row counts depends on other days too: that is worked out when it is
read, and never stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from core.files import digest_of, locked
from core.windows import Window, as_utc
from monitoring.labels import fingerprints, load_labels
from monitoring.logged import within
from monitoring.matching import match
from monitoring.parts import counting, relation
from monitoring.truth_store import TruthStore, truth_folder
from stores.sql import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from core.repo import FeatureRepo
    from monitoring.parts import Part

_TOGETHER = 200_000  # predictions that are joined at once, in whole days
_READ = ("prediction_id", "predicted_at", "model_version", "probability", "class", "label", "label_timestamp")
_MICROSECOND = timedelta(microseconds=1)
Days = dict[date, list["Part"]]


@dataclass(frozen=True)
class TruthSummary:
    """What is known of the predictions of some days.

    Attributes
    ----------
    days : int
        Days (UTC, by ``predicted_at``) with predictions.
    written : list of str
        Those whose truth was written anew, because predictions or labels had changed: ``YYYY-MM-DD``.
    predictions : int
        Predictions of these days.
    labelled : int
        Those whose label is known.
    waiting : int
        Those whose label is not known yet.
    after : int
        Those made after the label was known: they say nothing about the model.
    missing_slices : list of str
        Columns of ``slices`` in problem.yaml that neither the spine nor the log has: left out.
    """

    days: int
    written: list[str] = field(default_factory=list)
    predictions: int = 0
    labelled: int = 0
    waiting: int = 0
    after: int = 0
    missing_slices: list[str] = field(default_factory=list)


def update_truth(repo: FeatureRepo, since: datetime | None = None, until: datetime | None = None) -> TruthSummary:
    """Join every label that is known by now to the predictions of the days that ``[since, until)`` touches.

    A what-if has no truth. Days are left alone whose predictions, and the labels of the keys that they asked for, are
    as before. What is known of predictions that the log no longer has stays. Killed anywhere and run again, or run
    twice, it leads to the same files.

    Raises
    ------
    ConfigError, DataError
        As :func:`monitoring.labels.load_labels` does.
    """
    days = _days(counting(repo.layout, since, until), since, until)
    if not days:
        return TruthSummary(0)
    with locked(truth_folder(repo.layout) / "update.lock"), connect() as con:
        labels = load_labels(con, repo)
        store, written = TruthStore(repo.layout), []

        def versions(some: Iterable[date]) -> dict[date, str]:
            asked = store.keys(some)
            known = fingerprints(con, labels, asked) if asked else {}
            return {
                day: digest_of(labels.shape, str(known.get(day)), *(part.name for part in days[day])) for day in some
            }

        stale = [day for day, version in versions(days).items() if store.version(day) != version]
        for together in _batches(stale, days):
            there = sorted({part for day in together for part in days[day]})
            window = within(_midnight(together[0]), _midnight(together[-1] + timedelta(days=1)))
            truth, after = match(con, labels, f"{relation(repo.layout, there)} WHERE {window}")
            rows = {day: _with_removed(store, day, _of_day(truth, day), _of_day(after, day)) for day in together}
            for day in together:
                store.keep_keys(day, _column("key", rows[day], _of_day(after, day)))
            for day, version in versions(together).items():
                if store.keep(day, version, rows[day], _of_day(after, day).num_rows):
                    written.append(day.isoformat())
            store.save()
        counts = [store.counts(day) for day in days]
    total = {name: sum(count[name] for count in counts) for name in counts[0]}
    return TruthSummary(len(days), written, **total, missing_slices=labels.missing_slices)


def read_truth(repo: FeatureRepo, since: datetime, until: datetime, *, version: str | None = None) -> pa.Table:
    """Return the labelled predictions made in ``[since, until)``, as :func:`update_truth` left them.

    Returns
    -------
    pyarrow.Table
        ``prediction_id``, ``predicted_at``, ``model_version``, ``probability``, ``class``, ``label`` (0 or 1),
        ``label_timestamp``, a string column a slice of problem.yaml; ``first``: whether this is the prediction that
        counts of all that one model version made for one row of the spine; ``once``: whether it is the one of all
        versions that are asked for. Sum over the rows with ``first`` and nothing is counted twice for a version, over
        those with ``once`` and no row of the spine is, whatever the windows.
    """
    rows = TruthStore(repo.layout).read(since, until, repo.problem.slices, version)
    rows = rows.filter(pc.is_valid(rows.column("label")))
    there = [name for name in repo.problem.slices if rows.column(name).null_count < rows.num_rows]
    return rows.select([*_READ, *there, "first", "once"])


def count_truth(repo: FeatureRepo, since: datetime, until: datetime) -> int:
    """Return how many rows of the spine whose label is known have the prediction that counts in ``[since, until)``."""
    return TruthStore(repo.layout).count(since, until)


def labelled_window(repo: FeatureRepo, window: Window, version: str) -> Window:
    """Return the window to judge a version's predictions by: this one, if its labels reach into its second half.

    Where labels take longer, it is the newest of the same length: the one that ends with the newest prediction whose
    label is known.
    """
    length = window.until - window.since
    newest = TruthStore(repo.layout).newest_label(window.until, version)
    if newest is None or newest >= window.since + length / 2:
        return window
    end = newest.replace(microsecond=0) + timedelta(seconds=1)
    return Window(end - length, end)


def _days(there: Sequence[Part], since: datetime | None, until: datetime | None) -> Days:
    """Return the days of some parts in order, those that a window touches, and the parts that may hold each."""
    first = as_utc(since).date() if since else date.min
    last = as_utc(until - _MICROSECOND).date() if until else date.max
    days: Days = {}
    for part in there:
        for n in range((part.last.date() - part.first.date()).days + 1):
            day = part.first.date() + timedelta(days=n)
            if first <= day <= last:
                days.setdefault(day, []).append(part)
    return dict(sorted(days.items()))


def _batches(stale: Sequence[date], days: Mapping[date, Sequence[Part]]) -> Iterator[list[date]]:
    together: list[date] = []
    rows = 0
    for day in stale:
        more = sum(part.rows for part in days[day])
        if together and rows + more > _TOGETHER:
            yield together
            together, rows = [], 0
        together.append(day)
        rows += more
    if together:
        yield together


def _of_day(rows: pa.Table, day: date) -> pa.Table:
    at = rows.column("predicted_at")
    start, end = (pa.scalar(_midnight(d), at.type) for d in (day, day + timedelta(days=1)))
    return rows.filter(pc.and_(pc.greater_equal(at, start), pc.less(at, end)))


def _with_removed(store: TruthStore, day: date, truth: pa.Table, after: pa.Table) -> pa.Table:
    """Return the truth of a day with what is known of predictions that the log no longer has."""
    removed = store.removed(day, _column("prediction_id", truth, after), truth.schema)
    return pa.concat_tables([truth, removed]).sort_by("prediction_id") if removed.num_rows else truth


def _column(name: str, *tables: pa.Table) -> pa.Array:
    return pa.concat_tables([table.select([name]) for table in tables]).column(0).combine_chunks()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
