"""Which of two versions is better on the same labelled predictions, by the exact vectors that were logged."""

from __future__ import annotations

from datetime import datetime
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from core.reference import as_category

if TYPE_CHECKING:
    from core.model import Feature, PredictionModel
    from core.registry import RegistryReader
    from core.repo import FeatureRepo

MOST_ROWS = 50_000
MIN_DAYS = 7
_SAMPLES = 400
_SEED = 7


def contest(
    repo: FeatureRepo,
    registry: RegistryReader,
    challenger: str,
    champion: str,
    since: datetime,
    until: datetime,
    *,
    confidence: float,
    min_rows: int,
    version: str | None = None,
) -> dict[str, Any]:
    """Hold two versions against each other on labelled predictions that neither learned from.

    Both score the logged vectors anew. The gain is by the gate's metric, its interval by a paired bootstrap; rows of
    one day are drawn together where there are at least seven days, since they share what makes a day a bad one.

    Parameters
    ----------
    repo, registry : FeatureRepo, RegistryReader
        Whose truth and log; where the versions are.
    challenger, champion : str
        Registered versions: is the first better than the second?
    since, until : datetime
        The window ``[since, until)`` of ``predicted_at``. It begins later where a version learned from its beginning.
    confidence : float
        Of the two-sided interval.
    min_rows : int
        Labelled predictions that a judgement needs.
    version : str, optional
        Only predictions of this version.

    Returns
    -------
    dict
        ``metric``, ``challenger``, ``champion``, ``since``, ``until``, ``rows``, ``confidence``; ``values`` of the two,
        ``gain``, ``low`` and ``high`` where there are rows enough, and else ``why`` not.

    Raises
    ------
    NotFound, ModelUnavailable
        When a version is not there, or does not open.
    """
    models = [registry.load(challenger), registry.load(champion)]
    facts: dict[str, Any] = {
        "metric": repo.problem.gate.metric,
        "challenger": challenger,
        "champion": champion,
        "since": since.isoformat(),
        "until": until.isoformat(),
        "confidence": confidence,
        "rows": 0,
    }
    unseen = [_unseen_from(model) for model in models]
    if None in unseen:
        return facts | {"why": "it is not known from when on the rows are new to both"}
    since = max(since, *(moment for moment in unseen if moment is not None))
    facts["since"] = since.isoformat()
    if since >= until:
        return facts | {"why": "one of the two learned from all of the window"}
    rows, lacking = _rows(repo, models, since, until, version)
    facts["rows"] = rows.num_rows
    if lacking:
        return facts | {"why": f"the log does not have {', '.join(lacking)}"}
    if rows.num_rows < min_rows:
        return facts | {"why": f"{rows.num_rows:,} labelled predictions that neither learned from, asked: {min_rows:,}"}
    y = rows.column("label").to_numpy().astype(int)
    if len(np.unique(y)) < 2:
        return facts | {"why": f"all {len(y):,} labelled predictions are of one class"}
    return facts | _gain(facts["metric"], y, [score(model, rows) for model in models], rows, confidence)


def score(model: PredictionModel, rows: pa.Table) -> np.ndarray:
    """Return a model's probabilities for logged vectors, as :func:`monitoring.logged.logged` gives them, (n,)."""
    return model.predict_proba({f.name: _values(f, rows.column(f.name)) for f in model.features})


def _values(feature: Feature, column: pa.ChunkedArray) -> list[Any]:
    if feature.kind == "numeric":
        return column.to_pylist()
    named = {as_category(category): category for category in feature.categories}
    return [named.get(text) for text in column.to_pylist()]


def _unseen_from(model: PredictionModel) -> datetime | None:
    """Return the moment of prediction from which on a model has learned nothing: where its test rows begin."""
    moment = model.metadata.get("test_from")
    return datetime.fromisoformat(moment) if moment else None


def _rows(
    repo: FeatureRepo, models: list[PredictionModel], since: datetime, until: datetime, version: str | None
) -> tuple[pa.Table, list[str]]:
    """Return labelled predictions that count, with what both models want to see, and the features that no row has."""
    from monitoring.logged import logged
    from monitoring.truth import read_truth

    features = list({f.name: f for model in models for f in model.features}.values())
    truth = read_truth(repo, since, until, version=version)
    truth = truth.filter(truth.column("once")).select(["prediction_id", "label"])
    # Drawn from those whose label is known: where labels are rare, few of a sample of all would have one.
    ids = truth.column("prediction_id")
    vectors = logged(repo, since, until, version=version, features=features, ids=ids, rows=MOST_ROWS)
    vectors = vectors.select(["prediction_id", "predicted_at", *(f.name for f in features)])
    # By id, so that the order, and with it every sample that is drawn, is the same each time.
    rows = vectors.join(truth, "prediction_id", join_type="inner").sort_by("prediction_id")
    lacking = [f.name for f in features if len(rows) and rows.column(f.name).null_count == len(rows)]
    return rows, lacking


def _gain(
    metric: str, y: np.ndarray, probabilities: list[np.ndarray], rows: pa.Table, confidence: float
) -> dict[str, Any]:
    from training.evaluate import RANKED
    from training.gate import resampled_gains

    days = np.array([moment.toordinal() for moment in rows.column("predicted_at").to_pylist()])
    groups = days if len(np.unique(days)) >= MIN_DAYS else None
    new, old = probabilities
    gain, samples = resampled_gains(metric, y, new, old, _SEED, count=_SAMPLES, groups=groups)
    # By the samples' spread and not their quantiles: what is looked at often asks for levels that few samples reach.
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * float(np.nanstd(samples))
    values = [float(RANKED[metric](y, probability)) for probability in probabilities]
    return {"values": values, "gain": gain, "low": gain - reach, "high": gain + reach}
