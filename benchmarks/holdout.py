"""How good the recipe is on months it has never seen, what as-of features add, and what leaks would flatter.

``python -m benchmarks.holdout`` ingests the whole year of the flights repo into a temporary copy, trains on what was
known on 1 October 2013, and judges October to December, each flight asked one hour before its scheduled departure:

- *static*: the schedule and the calendar alone, against *as-of*: everything the feature store knows;
- *leaky* recipes, each judged as its author would (on its own rows) and honestly (on October to December):
  a random split, facts stamped at departure instead of arrival, and target encoders fitted on all rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from core.model import Feature, PredictionModel
from core.repo import FeatureRepo
from core.settings import get_settings
from core.windows import Window
from ingestion.fetch import fetch_window
from ingestion.transform import transform
from ingestion.validate import validate_all
from stores.registry import apply
from training.data import Prepared
from training.dataset import EVENT, LABEL_TIME, build_dataset, read_dataset
from training.evaluate import scores
from training.inputs import as_columns, learn_features, model_columns
from training.params import TrainParams
from training.split import Parts
from training.train import fit_candidate, refit_candidate

ROOT = Path(__file__).resolve().parents[1]
CUT = pd.Timestamp("2013-10-01", tz="UTC")
STATIC = ["carrier", "origin", "dest", "distance", "scheduled_minutes", "local_hour", "weekday", "days_to_holiday"]
ENCODED = ["flight_number", "tailnum", "dest", "carrier"]


def dataset(repo_folder: Path, *, departure_stamped: bool = False) -> tuple[FeatureRepo, pa.Table, dict[str, Any]]:
    """Ingest the whole year into a copy of the flights repo and return its training set."""
    shutil.copytree(ROOT / "feature_repo", repo_folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    if departure_stamped:
        _stamp_at_departure(repo_folder / "sql")
    repo = FeatureRepo.load(repo_folder)
    data = repo.problem.data
    fetch_window(repo, Window(data.start, pd.Timestamp("2014-01-03", tz="UTC").to_pydatetime()))
    validate_all(repo)
    apply(repo)
    transform(repo)
    build_dataset(repo)
    rows, manifest = read_dataset(repo)
    return repo, rows, manifest


def _stamp_at_departure(folder: Path) -> None:
    """The common mistake: what became of a flight is filed under its scheduled departure, hours too early."""
    early = "(SELECT o.* REPLACE (s.sched_dep AS known_at) FROM outcomes AS o JOIN schedule AS s USING (flight_id))"
    for name in ("route", "carrier", "dest_arrivals", "flight_number", "aircraft"):
        path = folder / f"{name}.sql"
        path.write_text(path.read_text().replace("FROM outcomes", f"FROM {early} AS outcomes"))


def parts_at_cut(rows: pa.Table) -> Parts:
    """Train and validation before the cut (the last six weeks validate), test after it; labels known in time."""
    frame = rows.select([EVENT, LABEL_TIME]).to_pandas()
    event, known = frame[EVENT], frame[LABEL_TIME]
    start = CUT - pd.Timedelta(weeks=6)
    pick = [
        (event < start) & (known <= start),
        (event >= start) & (event < CUT) & (known <= CUT),
        event >= CUT,
    ]
    return Parts(*(np.flatnonzero(p.to_numpy()) for p in pick), start, CUT)


def prepared(repo: FeatureRepo, rows: pa.Table, columns: list[str], parts: Parts, params: TrainParams) -> Prepared:
    """Code some columns for training, learned from the train part."""
    keys = repo.problem.key_features
    features = learn_features(rows, columns, keys, parts.train, params.max_categories)
    return Prepared(rows, parts, features, _matrix(features, rows), _labels(repo, rows))


def _matrix(features: list[Feature], rows: pa.Table) -> np.ndarray:
    columns = as_columns(rows, [f.name for f in features])
    return np.array([f.encode(columns[f.name]) for f in features], dtype=np.float64).T


def _labels(repo: FeatureRepo, rows: pa.Table) -> np.ndarray:
    return rows.column(repo.problem.label.column).to_numpy().astype(int)


def fitted(repo: FeatureRepo, candidate: str, data: Prepared, params: TrainParams) -> PredictionModel:
    """Train by the product's recipe."""
    model = fit_candidate(repo.problem, candidate, data, params)
    return refit_candidate(model, candidate, data, params) if params.refit else model


def judge(model: PredictionModel, data: Prepared, rows: np.ndarray) -> dict[str, float]:
    """Return the figures of one set of rows."""
    matrix, y = data.part(rows)
    found = scores(y, model.score(matrix), model.threshold)
    return {k: round(found[k], 4) for k in ("auc", "average_precision", "brier", "log_loss")} | {"rows": len(y)}


def main() -> int:
    """Run everything asked for and print one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidate", default="catboost", help="which candidate's recipe")
    parser.add_argument("--leaks", action="store_true", help="the leaky recipes as well (three more trainings)")
    given = parser.parse_args()
    get_settings()
    params = TrainParams.load(ROOT / "params.yaml")
    with tempfile.TemporaryDirectory() as name:
        repo, rows, manifest = dataset(Path(name) / "feature_repo")
        parts = parts_at_cut(rows)
        columns = model_columns(repo.problem, rows, manifest["spine_columns"])
        data = prepared(repo, rows, columns, parts, params)
        model = fitted(repo, given.candidate, data, params)
        say("as-of features, October to December", judge(model, data, parts.test))
        months = rows.column(EVENT).to_pandas().dt.month.to_numpy()
        for month in (10, 11, 12):
            say(f"as-of features, month {month}", judge(model, data, parts.test[months[parts.test] == month]))
        plain = prepared(repo, rows, STATIC, parts, params)
        static = fitted(repo, given.candidate, plain, params)
        say("static columns, October to December", judge(static, plain, parts.test))
        if given.leaks:
            random_split(repo, data, given.candidate, params)
            encoded_on_all(repo, rows, columns, parts, given.candidate, params)
            stamped_at_departure(Path(name) / "leaky", model, given.candidate, params, data)
    return 0


def random_split(repo: FeatureRepo, data: Prepared, candidate: str, params: TrainParams) -> None:
    """Leak: rows of January to September are split at random, so neighbours of a test row are trained on."""
    past = np.concatenate([data.parts.train, data.parts.validation])
    shuffled = np.random.default_rng(params.seed).permutation(past)
    train, validation, test = np.split(shuffled, [int(len(past) * 0.7), int(len(past) * 0.85)])
    parts = Parts(train, validation, test, CUT, CUT)
    leaky = Prepared(data.rows, parts, data.features, data.matrix, data.y)
    model = fitted(repo, candidate, leaky, params)
    say("random split, as claimed", judge(model, leaky, test))
    say("random split, honestly", judge(model, leaky, data.parts.test))


def encoded_on_all(
    repo: FeatureRepo, rows: pa.Table, columns: list[str], parts: Parts, candidate: str, params: TrainParams
) -> None:
    """Leak: the late share of each key value is computed over all rows, the test rows and their labels included."""
    y = _labels(repo, rows)
    data = prepared(repo, rows, columns, parts, params)
    for honest in (False, True):
        learned = parts.train if honest else np.arange(len(y))
        extra = []
        for name in ENCODED:
            values = pd.Series(rows.column(name).to_pylist(), dtype=object)
            shares = pd.Series(y[learned]).groupby(values.iloc[learned].to_numpy()).mean()
            extra.append(values.map(shares).to_numpy(dtype=float))
        features = [*data.features, *(Feature(f"{n}_target", "numeric") for n in ENCODED)]
        more = Prepared(rows, parts, features, np.column_stack([data.matrix, *extra]), y)
        model = fitted(repo, candidate, more, params)
        say(f"encoders fitted on {'train rows, honestly' if honest else 'all rows, as claimed'}",
            judge(model, more, parts.test))  # fmt: skip


def stamped_at_departure(
    folder: Path, honest: PredictionModel, candidate: str, params: TrainParams, truth: Prepared
) -> None:
    """Leak: outcomes are filed hours too early; the model is then served with what is really known."""
    repo, rows, manifest = dataset(folder, departure_stamped=True)
    parts = parts_at_cut(rows)
    columns = model_columns(repo.problem, rows, manifest["spine_columns"])
    leaky = prepared(repo, rows, columns, parts, params)
    model = fitted(repo, candidate, leaky, params)
    say("stamped at departure, as claimed", judge(model, leaky, parts.test))
    served = Prepared(truth.rows, truth.parts, leaky.features, _matrix(leaky.features, truth.rows), truth.y)
    say("stamped at departure, honestly", judge(model, served, truth.parts.test))


def say(what: str, figures: dict[str, float]) -> None:
    """Print one JSON line."""
    print(json.dumps({"benchmark": "holdout", "what": what, **figures}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
