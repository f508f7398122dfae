"""Two registered versions, side by side on the same rows; and one version, week by week."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from core.errors import Conflict
from training.curves import curves
from training.data import split_rows
from training.dataset import EVENT, read_dataset
from training.evaluate import RANKED, by_slice, calibration, importance, scores
from training.gate import resampled_gains
from training.inputs import as_columns

if TYPE_CHECKING:
    from core.model import PredictionModel
    from core.registry import RegistryReader
    from core.repo import FeatureRepo

WEEK_ROWS = 50
_SEED = 7
_LINEAGE = (
    "data_version",
    "snapshot",
    "feature_service",
    "registry_version",
    "trained_until",
    "test_from",
    "git_commit",
)


def compare(repo: FeatureRepo, registry: RegistryReader, a: str, b: str) -> dict[str, Any]:
    """Compare two versions on the test rows of the present training set.

    Parameters
    ----------
    repo : FeatureRepo
        Whose training set.
    registry : RegistryReader
        Where the versions are.
    a, b : str
        Registered versions.

    Returns
    -------
    dict
        ``rows`` (how many, from when), ``versions`` (of each: metrics, curves, calibration, importance, lineage),
        ``gains`` (by how much ``a`` is better than ``b``, per metric, with its 95 % interval by a paired bootstrap),
        ``slices``, ``differences`` (of lineage and parameters) and ``warnings``.

    Raises
    ------
    NotFound
        When a version is not registered.
    NoData
        When there is no training set.
    Conflict
        When the training set no longer has what a version needs.
    """
    rows, y = _test_rows(repo)
    sides = [_Side(registry, version, rows, y) for version in (a, b)]
    left, right = sides
    slices = [_slices(repo, rows, y, side.probability, side.model.threshold) for side in sides]
    return {
        "problem": repo.problem.title or repo.problem.name,
        "rows": {"count": len(y), "from": _moment(rows, 0), "until": _moment(rows, -1)},
        "versions": [side.facts(y) for side in sides],
        "gains": _gains(y, left.probability, right.probability),
        "slices": [
            {
                "slice": name,
                "value": value,
                "rows": found["rows"],
                "auc": [found["auc"], slices[1][name, value]["auc"]],
                "brier": [found["brier"], slices[1][name, value]["brier"]],
            }
            for (name, value), found in slices[0].items()
        ],
        "differences": _differences(left.record, right.record),
        "warnings": [warning for side in sides for warning in side.warnings(rows)],
    }


def performance(repo: FeatureRepo, registry: RegistryReader, version: str) -> dict[str, Any]:
    """Return a version's metrics on the test rows, week by week (weeks begin on Monday, UTC).

    Weeks with fewer than 50 rows or a single class have no AUC, and are left out.

    Raises
    ------
    NotFound, NoData, Conflict
        As :func:`compare`.
    """
    rows, y = _test_rows(repo)
    side = _Side(registry, version, rows, y)
    moments = pd.to_datetime(rows.column(EVENT).to_pandas(), utc=True)
    weeks = moments.dt.tz_localize(None).dt.to_period("W-SUN").dt.start_time
    out = []
    for week, places in weeks.groupby(weeks).groups.items():
        chosen = np.asarray(places)
        if len(chosen) >= WEEK_ROWS and len(np.unique(y[chosen])) == 2:
            found = scores(y[chosen], side.probability[chosen], side.model.threshold)
            out.append({"week": str(pd.Timestamp(week).date()), **found})
    return {"version": version, "weeks": out, "warnings": side.warnings(rows)}


class _Side:
    """One of the versions: its model, its record in the registry, and its probabilities for the rows."""

    def __init__(self, registry: RegistryReader, version: str, rows: pa.Table, y: np.ndarray) -> None:
        self.version = version
        self.record = registry.version(version)
        self.model: PredictionModel = registry.load(version)
        names = [f.name for f in self.model.features]
        if missing := [name for name in names if name not in rows.column_names]:
            raise Conflict(
                f"Version {version} needs {', '.join(missing)}, which the training set does not have.",
                hint="Compare versions of the same features, or build the set that it was trained on.",
            )
        self.matrix = self.model.matrix(as_columns(rows, names))
        self.probability = self.model.score(self.matrix)

    def facts(self, y: np.ndarray) -> dict[str, Any]:
        """Return what is shown of this side alone."""
        return {
            "version": self.version,
            "roles": self.record["roles"],
            "registered_at": self.record["registered_at"],
            "candidate": self.model.metadata.get("candidate"),
            "threshold": self.model.threshold,
            "metrics": scores(y, self.probability, self.model.threshold),
            "curves": curves(y, self.probability),
            "calibration": calibration(y, self.probability),
            "importance": importance(self.model, self.matrix, y),
            "lineage": {key: _lineage(self, key) for key in _LINEAGE},
        }

    def warnings(self, rows: pa.Table) -> list[str]:
        """Say where the comparison favours this side: rows that it may have learned from."""
        seen_until = self.model.metadata.get("test_from")
        if seen_until is None or pd.Timestamp(seen_until) <= pd.Timestamp(_moment(rows, 0)):
            return []
        return [f"Version {self.version} was trained on rows up to {seen_until}: some of these it has seen."]


def _lineage(side: _Side, key: str) -> Any:
    return side.model.metadata.get(key, side.record["lineage"].get(key))


def _test_rows(repo: FeatureRepo) -> tuple[pa.Table, np.ndarray]:
    """Return the test rows of the present training set in the order of time, and their labels."""
    rows, _ = read_dataset(repo)
    chosen = rows.take(pa.array(split_rows(repo.problem, rows).test))
    return chosen, chosen.column(repo.problem.label.column).to_numpy().astype(int)


def _moment(rows: pa.Table, place: int) -> str:
    return str(pd.Timestamp(rows.column(EVENT)[place].as_py()).isoformat())


def _gains(y: np.ndarray, left: np.ndarray, right: np.ndarray) -> dict[str, dict[str, Any]]:
    out = {}
    for metric in RANKED:
        gain, samples = resampled_gains(metric, y, left, right, _SEED)
        low, high = (float(np.nanquantile(samples, q)) for q in (0.025, 0.975))
        out[metric] = {"gain": gain, "low": low, "high": high, "beyond_noise": low > 0 or high < 0}
    return out


def _slices(
    repo: FeatureRepo, rows: pa.Table, y: np.ndarray, probability: np.ndarray, threshold: float
) -> dict[tuple[str, str], dict[str, Any]]:
    found = by_slice(as_columns(rows, repo.problem.slices), y, probability, threshold)
    return {(one["slice"], one["value"]): one for one in found}


def _differences(left: dict[str, Any], right: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters and lineage tags in which two versions differ, as ``what``, ``a``, ``b``."""
    out = []
    for kind in ("lineage", "params"):
        for key in sorted({*left[kind], *right[kind]} - {"job", "promotion"}):
            values = left[kind].get(key), right[kind].get(key)
            if values[0] != values[1]:
                out.append({"what": key, "a": values[0], "b": values[1]})
    return out
