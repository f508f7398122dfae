"""Training as one function: fit the candidates, choose on validation, judge on test, register, pass the gate."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from core.errors import ModelUnavailable
from core.files import atomic_dir, write_json
from core.model import Feature, PredictionModel
from core.progress import progress
from training.candidates import fit, make
from training.dataset import EVENT, LABEL_TIME, read_dataset
from training.evaluate import best_threshold, better, by_slice, calibrate, calibration, scores
from training.gate import Verdict, judge
from training.inputs import as_columns, learn_features, model_columns
from training.registry import CHAMPION, Registry
from training.split import Parts, time_split

if TYPE_CHECKING:
    from core.problem import Problem
    from core.repo import FeatureRepo
    from training.params import TrainParams


@dataclass
class Prepared:
    """The training set as the candidates see it."""

    rows: pa.Table
    parts: Parts
    features: list[Feature]
    matrix: np.ndarray
    y: np.ndarray

    def part(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return matrix and labels of some rows."""
        return self.matrix[rows], self.y[rows]


@dataclass
class Outcome:
    """What a training run gave."""

    version: str
    candidate: str
    metrics: dict[str, float]
    verdict: Verdict


def prepare(problem: Problem, rows: pa.Table, spine: Sequence[str], params: TrainParams) -> Prepared:
    """Split a training set by time and code its inputs; codes are learned from the train part alone."""
    frame = rows.select([EVENT, LABEL_TIME]).to_pandas()
    parts = time_split(frame[EVENT], frame[LABEL_TIME], problem.split)
    names = model_columns(problem, rows, spine)
    features = learn_features(rows, names, problem.key_features, parts.train, params.max_categories)
    columns = as_columns(rows, names)
    matrix = np.array([f.encode(columns[f.name]) for f in features], dtype=np.float64).T
    y = rows.column(problem.label.column).to_numpy().astype(int)
    return Prepared(rows, parts, features, matrix, y)


def fit_candidate(problem: Problem, name: str, data: Prepared, params: TrainParams) -> PredictionModel:
    """Fit one candidate on the train part and calibrate it on the validation part."""
    estimator = fit(make(name, data.features, params), data.part(data.parts.train), data.part(data.parts.validation))
    held, y = data.part(data.parts.validation)
    return PredictionModel(
        features=data.features,
        estimator=estimator,
        calibration=calibrate(estimator.predict_proba(held)[:, 1], y),
        threshold=best_threshold(problem.cost),
        classes=(problem.label.negative, problem.label.positive),
        metadata={"candidate": name},
    )


def train(repo: FeatureRepo, params: TrainParams, *, promote: bool = True) -> Outcome:
    """Train on the snapshot, register the best candidate as challenger, and promote it if the gate says so.

    Everything is logged to MLflow: a run a candidate under one parent, with lineage tags. Metrics and plots are
    also written to ``data/reports`` for DVC. Killed anywhere and run again, it starts anew; the champion
    stays the one it was until the new one is whole.

    Raises
    ------
    NoData
        When there is no training set, or too few rows in it.
    ConfigError
        When problem.yaml or params.yaml names a column, candidate or parameter that is not there.
    """
    problem = repo.problem
    rows, manifest = read_dataset(repo)
    registry = Registry(repo)
    registry.sync_champion()
    tags = {
        "data_version": manifest["data_version"],
        "feature_service": manifest["feature_service"],
        "registry_version": manifest["registry_version"],
        "snapshot": manifest["sha256"],
    }
    with progress("Training", total=len(problem.candidates) + 3) as advance:
        data = prepare(problem, rows, manifest["spine_columns"], params)
        for name in problem.candidates:
            make(name, data.features, params)  # a wrong name or parameter is told now, not after minutes of training
        advance(note="prepared")
        with registry.start_run("train", tags) as parent, tempfile.TemporaryDirectory() as temporary:
            fitted = {}
            for name in problem.candidates:
                advance(0, note=name)
                fitted[name] = _try_candidate(registry, problem, name, data, params, tags)
                advance(note=name)
            name = _choose(problem, fitted)
            model, validation = fitted[name]
            model.metadata |= {**tags, "run_id": parent.info.run_id, "trained_until": manifest["raw_until"]}
            report, test = _judge_on_test(problem, name, model, data, validation)
            _reports(repo, Path(temporary), report, data, test, model.threshold)
            registry.log({"candidate": name, "seed": params.seed}, report["test"])
            registry.log_folder(Path(temporary), "reports")
            advance(note="registering")
            version = registry.register(model, _example(data, model), tags)
            verdict = _gate(repo, registry, data, model, test, params.seed)
            registry.log_folder(_kept(Path(temporary), "gate.json", verdict.as_dict()), "reports")
            if promote and verdict.passed:
                registry.promote(version, verdict.reasons)
            advance(note="done")
    return Outcome(version, name, report["test"], verdict)


def _try_candidate(
    registry: Registry, problem: Problem, name: str, data: Prepared, params: TrainParams, tags: dict[str, str]
) -> tuple[PredictionModel, dict[str, float]]:
    with registry.start_run(name, tags, nested=True):
        model = fit_candidate(problem, name, data, params)
        matrix, y = data.part(data.parts.validation)
        metrics = scores(y, model.score(matrix), model.threshold)
        registry.log({"candidate": name, **getattr(params, name)}, {f"validation_{k}": v for k, v in metrics.items()})
    return model, metrics


def _choose(problem: Problem, fitted: dict[str, tuple[PredictionModel, dict[str, float]]]) -> str:
    """Return the candidate that is best on validation by the gate's metric."""
    metric = problem.gate.metric
    return max(fitted, key=lambda name: better(metric, fitted[name][1][metric], 0.0))


def _judge_on_test(
    problem: Problem, name: str, model: PredictionModel, data: Prepared, validation: dict[str, float]
) -> tuple[dict[str, Any], np.ndarray]:
    matrix, y = data.part(data.parts.test)
    probability = model.score(matrix)
    chosen = data.rows.take(pa.array(data.parts.test))
    return {
        "candidate": name,
        "test": scores(y, probability, model.threshold),
        "validation": validation,
        "rows": {p: len(getattr(data.parts, p)) for p in ("train", "validation", "test")},
        "test_from": data.parts.test_from.isoformat(),
        "slices": by_slice(as_columns(chosen, problem.slices), y, probability, model.threshold),
        "calibration": calibration(y, probability),
        "importance": _importance(model, matrix, y),
    }, probability


def _importance(model: PredictionModel, matrix: np.ndarray, y: np.ndarray) -> list[dict[str, Any]]:
    """Return how much AUC falls when one input is shuffled, on at most 5,000 test rows."""
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    rows = rng.choice(len(y), min(len(y), 5000), replace=False)
    x, labels = matrix[rows], y[rows]
    if len(np.unique(labels)) < 2:
        return []
    whole = roc_auc_score(labels, model.score(x))
    out = []
    for i, feature in enumerate(model.features):
        shuffled = x.copy()
        shuffled[:, i] = rng.permutation(shuffled[:, i])
        out.append({"feature": feature.name, "importance": float(whole - roc_auc_score(labels, model.score(shuffled)))})
    return sorted(out, key=lambda item: -item["importance"])


def _reports(
    repo: FeatureRepo, folder: Path, report: dict[str, Any], data: Prepared, test: np.ndarray, threshold: float
) -> None:
    from training.plots import draw

    draw(folder / "plots", data.y[data.parts.test], test, threshold, report)
    metrics = {k: report[k] for k in ("candidate", "test", "validation", "rows", "test_from")}
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "report.json", report)
    write_json(repo.layout.reports / "metrics.json", metrics)
    with atomic_dir(repo.layout.reports / "plots") as plots:
        shutil.copytree(folder / "plots", plots, dirs_exist_ok=True)


def _example(data: Prepared, model: PredictionModel) -> Any:
    names = [f.name for f in model.features]
    frame = data.rows.select(names).take(pa.array(data.parts.test[:5])).to_pandas()
    # MLflow has no whole numbers that may be missing.
    return frame.astype({f.name: "float64" for f in model.features if f.kind == "numeric"})


def _gate(
    repo: FeatureRepo, registry: Registry, data: Prepared, model: PredictionModel, test: np.ndarray, seed: int
) -> Verdict:
    """Judge the challenger against the champion, both scored on the same test rows."""
    old, why = _score_champion(registry, data)
    return judge(repo.problem.gate, data.y[data.parts.test], test, old, model.threshold, seed, unopposed=why)


def _score_champion(registry: Registry, data: Prepared) -> tuple[np.ndarray | None, str]:
    """Return the champion's probabilities for the test rows; or None, and why there are none."""
    version = registry.version_of(CHAMPION)
    if version is None:
        return None, "there is no champion to beat"
    try:
        champion = registry.load(version)
    except ModelUnavailable as error:
        return None, f"the champion, version {version}, cannot be compared with: {error.message}"
    names = [f.name for f in champion.features]
    if missing := [name for name in names if name not in data.rows.column_names]:
        return None, f"the champion, version {version}, needs {', '.join(missing)}, which the data no longer has"
    return champion.predict_proba(as_columns(data.rows.take(pa.array(data.parts.test)), names)), ""


def _kept(folder: Path, name: str, content: dict[str, Any]) -> Path:
    target = folder / "gate"
    write_json(target / name, content)
    return target
