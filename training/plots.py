"""Pictures of a model, and the same points as data for ``dvc plots``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from core.files import write_json
from training.evaluate import calibration

mpl.use("Agg")
from matplotlib import pyplot as plt

_POINTS = 200


def draw(folder: Path, y: np.ndarray, probability: np.ndarray, threshold: float, facts: dict[str, Any]) -> None:
    """Write every plot of the test part into ``folder``: a PNG to look at and a JSON to compare.

    Parameters
    ----------
    y, probability : arrays (n,)
        Labels and calibrated probabilities.
    threshold : float
        The decision threshold.
    facts : dict
        ``importance`` (list of feature, value) and ``slices`` (as of ``evaluate.by_slice``).
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Names may hold dollar signs: no formula is meant by them.
    with mpl.rc_context({"text.parse_math": False}):
        fpr, tpr, _ = roc_curve(y, probability)
        _line(folder, "roc", fpr, tpr, "false positive rate", "true positive rate", diagonal=True)
        precision, recall, _ = precision_recall_curve(y, probability)
        _line(folder, "precision_recall", recall[::-1], precision[::-1], "recall", "precision")
        points = calibration(y, probability)
        predicted, observed = (np.array([p[k] for p in points]) for k in ("predicted", "observed"))
        _line(folder, "calibration", predicted, observed, "predicted", "observed", diagonal=True, marker="o")
        _scores(folder, y, probability, threshold)
        _bars(folder, "importance", [(i["feature"], i["importance"]) for i in facts["importance"][:25]], "importance")
        _bars(folder, "slices", [(f"{s['slice']} {s['value']}", s["auc"]) for s in facts["slices"]], "AUC")


def _line(
    folder: Path,
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    x_label: str,
    y_label: str,
    *,
    diagonal: bool = False,
    marker: str = "",
) -> None:
    if len(x) > _POINTS:
        grid = np.linspace(0, len(x) - 1, _POINTS).astype(int)
        x, y = x[grid], y[grid]
    figure, axes = plt.subplots(figsize=(5, 4.5))
    axes.plot(x, y, marker=marker)
    if diagonal:
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(0, 1), ylim=(0, 1.02), title=name.replace("_", " "))
    _save(figure, folder / f"{name}.png")
    keys = [x_label.replace(" ", "_"), y_label.replace(" ", "_")]
    write_json(folder / f"{name}.json", [dict(zip(keys, map(float, p), strict=True)) for p in zip(x, y, strict=True)])


def _scores(folder: Path, y: np.ndarray, probability: np.ndarray, threshold: float) -> None:
    figure, axes = plt.subplots(figsize=(6, 4))
    for value, name in ((0, "negative"), (1, "positive")):
        axes.hist(probability[y == value], bins=40, range=(0, 1), alpha=0.6, density=True, label=name)
    axes.axvline(threshold, color="black", linewidth=0.8, linestyle="--", label="threshold")
    axes.set(xlabel="probability", ylabel="density", title="scores")
    axes.legend()
    _save(figure, folder / "scores.png")


def _bars(folder: Path, name: str, bars: list[tuple[str, float]], x_label: str) -> None:
    figure, axes = plt.subplots(figsize=(7, 1.2 + 0.26 * max(1, len(bars))))
    axes.barh([b[0] for b in bars][::-1], [b[1] for b in bars][::-1])
    axes.set(xlabel=x_label, title=name)
    _save(figure, folder / f"{name}.png")
    write_json(folder / f"{name}.json", [{"name": n, x_label: v} for n, v in bars])


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
