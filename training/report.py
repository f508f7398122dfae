"""What is kept of a training run beside the model: its report on the test rows, plots, and DVC's copy of both."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from core.files import atomic_dir, read_json, write_json
from training.evaluate import by_slice, calibration, importance, scores
from training.inputs import as_columns

if TYPE_CHECKING:
    from core.model import PredictionModel
    from core.problem import Problem
    from core.repo import FeatureRepo
    from training.data import Prepared

METRICS, REPORT, PLOTS, GATE = "metrics.json", "report.json", "plots", "gate.json"


def judge_on_test(
    problem: Problem, name: str, model: PredictionModel, data: Prepared, validation: dict[str, float]
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the report of a model on the test rows, and its probabilities for them."""
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
        "importance": importance(model, matrix, y),
    }, probability


def write_report(folder: Path, report: dict[str, Any], data: Prepared, test: np.ndarray, threshold: float) -> None:
    """Write report, metrics and plots of a run into ``folder``."""
    from training.plots import draw

    draw(folder / PLOTS, data.y[data.parts.test], test, threshold, report)
    write_json(folder / METRICS, {k: report[k] for k in ("candidate", "test", "validation", "rows", "test_from")})
    write_json(folder / REPORT, report)


def publish(repo: FeatureRepo, folder: Path) -> None:
    """Copy metrics and plots of a run to ``data/reports``, where DVC takes them from."""
    write_json(repo.layout.reports / METRICS, read_json(folder / METRICS))
    with atomic_dir(repo.layout.reports / PLOTS) as plots:
        shutil.copytree(folder / PLOTS, plots, dirs_exist_ok=True)
