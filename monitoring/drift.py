"""Do the features that are served still look like those that the model learned from?

The prediction log of a window against the reference of the model version that predicted: every feature, the
predictions themselves, and (once labels are known) how good they were. The tests are in ``monitoring.drift_tests``,
what is kept in ``monitoring.drift_reports``; docs/drift.md explains the rules and what they cost.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from core.repo import FeatureRepo
    from core.settings import Settings

Verdict = Literal["drift", "no drift", "too few rows"]


@dataclass(frozen=True)
class ColumnDrift:
    """What the tests found of one feature, or of the predictions.

    Attributes
    ----------
    name, kind, test : str
        The column, ``numeric`` or ``categorical``, and the tests in words.
    effect, threshold : float or None
        How far the distribution moved (population stability index, less what chance alone gives), and from where on
        that is much.
    p_value, adjusted_p : float or None
        How probable such a move is by chance; adjusted for the number of features (Benjamini-Hochberg).
    drifted : bool
        Both: the effect reaches the threshold and the adjusted p lies below alpha; or the feature is broken.
    missing_reference, missing_current : float
        Shares of the rows without a value.
    missing_jump : bool
        Whether clearly more values are missing than in the reference.
    frozen : bool
        Whether there is one value where the reference has many.
    ignored : bool
        Whether problem.yaml leaves the feature out of the verdict.
    new_categories : list of str
        Categories that the reference does not have, the commonest first.
    words : str
        The same in a sentence.
    """

    name: str
    kind: str
    test: str
    effect: float | None
    threshold: float
    p_value: float | None
    adjusted_p: float | None
    drifted: bool
    missing_reference: float
    missing_current: float
    missing_jump: bool = False
    frozen: bool = False
    ignored: bool = False
    new_categories: list[str] = field(default_factory=list)
    words: str = ""

    @property
    def broken(self) -> bool:
        """Whether it raises the alarm on its own: values are missing, or stand still."""
        return self.missing_jump or self.frozen


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
        AUC and Brier score of the window against those of the model's test rows; None without enough labels.
    reasons : list of str
        Why this verdict, in words.
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

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON: moments as ISO 8601."""
        moments = {name: getattr(self, name).isoformat() for name in ("since", "until", "made_at")}
        return {**asdict(self), **moments}


def check_drift(
    repo: FeatureRepo,
    since: datetime,
    until: datetime,
    *,
    version: str | None = None,
    settings: Settings | None = None,
) -> DriftReport:
    """Compare the logged predictions of a window with what their model learned from, and keep the report.

    It is stored as HTML and JSON under ``data/monitoring/drift/<id>/``, and beside the version's run in MLflow; when
    MLflow is away, the report says so. At most ``drift.max_rows`` predictions are looked at, drawn from all of the
    window alike.

    Parameters
    ----------
    since, until : datetime
        The window ``[since, until)`` of ``predicted_at``.
    version : str, optional
        The model version; by default the champion.
    settings : Settings, optional
        Where MLflow is; by default this process's settings.

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
    raise NotImplementedError


def list_reports(repo: FeatureRepo, limit: int = 100) -> list[dict[str, Any]]:
    """Return the newest reports in short, newest window first: id, window, version, rows, verdict, reasons."""
    raise NotImplementedError


def read_report(repo: FeatureRepo, report_id: str) -> dict[str, Any]:
    """Return a report as :meth:`DriftReport.as_dict` gave it.

    Raises
    ------
    NotFound
        When there is none of that id.
    """
    raise NotImplementedError


def report_file(repo: FeatureRepo, report_id: str, kind: Literal["html", "json"]) -> Path:
    """Return where the HTML or JSON file of a report lies.

    Raises
    ------
    NotFound
        When there is none of that id.
    """
    raise NotImplementedError
