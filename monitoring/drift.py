"""Whether the features that are served still look like those that the model learned from.

The prediction log of a window against the reference of the model version that predicted: every feature, the
predictions themselves, and (once labels are known) how good they were. The tests are in ``monitoring.drift_tests``,
what is kept in ``monitoring.drift_reports``; docs/drift.md explains the rules and what they cost.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from core.clock import SystemClock
from core.errors import InvalidRequest, ModelUnavailable
from core.model import HEADER
from core.progress import progress
from core.reference import SCORE, Reference, is_whole
from core.registry import RegistryReader, pointed_version
from core.windows import Window
from monitoring.drift_columns import ColumnDrift, judge
from monitoring.drift_page import write_page
from monitoring.drift_performance import performance_drift
from monitoring.drift_reports import Verdict, keep
from monitoring.drift_tests import Finding, measure
from monitoring.logged import count_logged, logged
from monitoring.truth import labelled_window, read_truth
from training.reference import usual_length

if TYPE_CHECKING:
    from core.problem import Drift
    from core.repo import FeatureRepo
    from core.settings import Settings


@dataclass(frozen=True)
class DriftReport:
    """What a drift check found.

    Attributes
    ----------
    id : str
        Made of the window and the version: the same check asked for twice replaces its report.
    model_version : str
        Whose predictions, and whose reference.
    since, until, made_at : datetime
        The window ``[since, until)`` on the problem's clock, and when it was checked on the machine's.
    rows, sampled : int
        Logged predictions of the version in the window, and how many of them were looked at.
    verdict : {"drift", "no drift", "too few rows"}
        The whole in three words.
    share : float
        Of the features that count, how many drifted.
    features : list of ColumnDrift
        One a feature, in the model's order.
    prediction : ColumnDrift or None
        The same of the predicted probabilities.
    performance : dict or None
        AUC and Brier score of the window against those of the model's test rows; None without enough labels. Where
        labels take longer than the window, they are of the newest window of its length that has them (``window``).
    reasons : list of str
        Why this verdict, in words.
    notes : list of str
        What it rests on: sampling, the reference, and where the report is kept.
    """

    id: str
    model_version: str
    since: datetime
    until: datetime
    made_at: datetime
    rows: int
    sampled: int
    verdict: Verdict
    share: float
    features: list[ColumnDrift]
    prediction: ColumnDrift | None
    performance: dict[str, Any] | None
    reasons: list[str]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON: moments as ISO 8601."""
        moments = {name: getattr(self, name).isoformat() for name in ("since", "until", "made_at")}
        return {**asdict(self), **moments}


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found, before it is a report: see :class:`DriftReport`."""

    verdict: Verdict
    share: float
    features: list[ColumnDrift]
    prediction: ColumnDrift
    performance: dict[str, Any] | None
    reasons: list[str]


def check_drift(
    repo: FeatureRepo,
    since: datetime,
    until: datetime,
    *,
    version: str | None = None,
    settings: Settings | None = None,
    page: bool = True,
) -> DriftReport:
    """Compare the logged predictions of a window with what their model learned from, and keep the report.

    It is stored as HTML and JSON under ``data/monitoring/drift/<id>/``, and beside the version's run in MLflow; when
    MLflow is away, the report says so. At most ``drift.max_rows`` predictions are looked at, drawn from all of the
    window alike. Labels count as far as :func:`monitoring.truth.update_truth` has joined them.

    Parameters
    ----------
    since, until : datetime
        The window ``[since, until)`` of ``predicted_at``.
    version : str, optional
        The model version; by default the champion.
    settings : Settings, optional
        Where MLflow is; by default this process's settings.
    page : bool
        Whether to draw the HTML page: it takes some 20 seconds and 7 MB.

    Raises
    ------
    ModelUnavailable
        When there is no champion, or its reference is damaged.
    NoData
        When the version has no reference.
    NotFound
        When the registry has no such version.
    InvalidRequest
        When the window is empty or has no time zone.
    """
    window = _window(since, until)
    limits = repo.problem.drift
    version, reference = _reference(repo, version, settings)
    with progress("Testing for drift", total=3) as advance:
        rows = count_logged(repo, window.since, window.until, version=version)
        current = logged(
            repo, window.since, window.until, version=version, features=reference.features, rows=limits.max_rows
        )
        current = current.append_column(SCORE, current.column("probability"))
        advance(note="the tests")
        found = None
        if rows >= limits.min_rows:
            of = labelled_window(repo, window, version)
            truth = read_truth(repo, of.since, of.until, version=version)
            truth, earlier = truth.filter(truth.column("first")), of if of != window else None
            found = compare(reference, current, truth, limits, until - since, earlier)
        report = DriftReport(
            id=f"{window.id}-v{version}",
            model_version=version,
            since=window.since,
            until=window.until,
            made_at=SystemClock().now(),
            rows=rows,
            sampled=current.num_rows,
            notes=_notes(reference, rows, current.num_rows, until - since),
            **(vars(found) if found else _too_few(rows, limits)),
        )
        advance(note="the page" if page else "")

        def draw(path: Path) -> None:
            write_page(path, report, reference.sample, current, limits)

        kept = keep(repo, report.as_dict(), draw if page else None, reference.profile.get("run_id"), settings)
        advance()
    return replace(report, notes=kept["notes"])


def compare(
    reference: Reference,
    current: pa.Table,
    truth: pa.Table,
    limits: Drift,
    length: timedelta,
    earlier: Window | None = None,
) -> Comparison:
    """Test every column of a window, and give the verdict.

    It is drift when at least ``drift.share`` of the features that count have drifted; or one is broken: its values are
    missing, unknown to the model, or stand still; or the predictions have drifted; or the model does worse.

    Parameters
    ----------
    reference : Reference
        Of the model version.
    current : pyarrow.Table
        n > 0 rows: a column a feature, and ``SCORE``.
    truth : pyarrow.Table
        Labelled predictions, each row of the spine once: ``predicted_at``, ``probability``, ``label``.
    limits : Drift
        Of problem.yaml.
    length : timedelta
        Of the window.
    earlier : Window, optional
        Where the truth is that of an earlier window: that one.
    """
    profile = reference.profile
    *features, prediction = judge(
        [*profile["features"], profile["score"]],
        measure_all(reference, current),
        limits,
        usual_length(profile["windows"], length),
    )
    performance = performance_drift(profile["test"], truth, limits, length, earlier) if "test" in profile else None
    return conclude(features, prediction, performance, limits)


def measure_all(reference: Reference, current: pa.Table) -> list[Finding]:
    """Measure every feature of a window, and the predictions last; see :func:`compare`."""
    profile = reference.profile
    return [
        measure(about, profile["rows"], reference.sample.column(about["name"]), current.column(about["name"]))
        for about in (*profile["features"], profile["score"])
    ]


def conclude(
    features: list[ColumnDrift], prediction: ColumnDrift, performance: dict[str, Any] | None, limits: Drift
) -> Comparison:
    """Give the verdict on what was found column by column, and say why; see :func:`compare`."""
    counted = [f for f in features if not f.ignored]
    drifted = [f for f in counted if f.drifted]
    share = len(drifted) / len(counted) if counted else 0.0
    reasons = [f.words for f in features if f.broken]
    if counted and share >= limits.share:
        names = ", ".join(f.name for f in drifted)
        many = f"{100 * limits.share:.0f} % are many"
        reasons.append(f"{len(drifted)} of {len(counted)} features drifted; {many}: {names}.")
    if prediction.drifted:
        reasons.append(prediction.words)
    if performance and performance["drifted"]:
        reasons.append(performance["words"])
    verdict: Verdict = "drift" if reasons else "no drift"
    calm = f"{len(drifted)} of {len(counted)} features drifted; the predictions are within what is usual."
    return Comparison(verdict, share, features, prediction, performance, reasons or [calm])


def _window(since: datetime, until: datetime) -> Window:
    if since.tzinfo is None or until.tzinfo is None or since >= until:
        raise InvalidRequest(
            f"A window must have a time zone, and end after it starts: {since.isoformat()} .. {until.isoformat()}.",
            hint="Give both moments as in 2013-10-01T00:00:00Z.",
        )
    return Window(since, until)


def _reference(repo: FeatureRepo, version: str | None, settings: Settings | None) -> tuple[str, Reference]:
    version = version or pointed_version(repo.layout, "champion")
    if version is None:
        raise ModelUnavailable("There is no champion to test for drift.", hint="Train one: punctual train")
    folder = repo.layout.models / version
    # A good copy needs no MLflow; a version without one, or with a damaged one, is fetched.
    if not version.isdigit() or not (folder / HEADER).is_file() or not is_whole(folder):
        folder = RegistryReader(repo, settings).ensure(version)
    return version, Reference.load(folder)


def _too_few(rows: int, limits: Drift) -> dict[str, Any]:
    reason = f"{rows:,} predictions; below {limits.min_rows:,} (drift.min_rows in problem.yaml) nothing is said."
    nothing = {"share": 0.0, "features": [], "prediction": None, "performance": None}
    return {**nothing, "verdict": "too few rows", "reasons": [reason]}


def _notes(reference: Reference, rows: int, sampled: int, length: timedelta) -> list[str]:
    profile = reference.profile
    notes = [
        f"The reference is all {profile['rows']:,} rows of the training snapshot: trained on, validated on and tested "
        f"on. What is drawn, and the Kolmogorov-Smirnov tests, take {reference.sample.num_rows:,} of them."
    ]
    if sampled < rows:
        notes.append(f"{sampled:,} of {rows:,} predictions were looked at, drawn by their ids from all of the window.")
    windows = usual_length(profile["windows"], length)
    if windows:
        count = profile["windows"][windows]
        notes.append(
            f"Limits follow how far the training period's own windows ({count} of {windows}) lay from the whole."
        )
    else:
        notes.append("The training period is too short to say how far its own windows lie from the whole.")
    return notes
