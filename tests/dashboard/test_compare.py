"""Two versions in words and pictures, no more than functions."""

from __future__ import annotations

from typing import Any

from dashboard.parts import compare, compare_charts


def compared(version: str, auc: float | None) -> dict[str, Any]:
    metrics = dict.fromkeys(("average_precision", "brier", "log_loss", "f1", "precision", "recall"), 0.25)
    return {
        "version": version,
        "metrics": {"auc": auc, **metrics, "positive_share": 0.2, "called_share": 0.1, "rows": 500.0},
        "curves": {
            "roc": {"false_positive_rate": [0, 0.5, 1], "true_positive_rate": [0, 0.9, 1]},
            "precision_recall": {"recall": [0, 1], "precision": [1, 0.2]},
        },
        "calibration": [{"predicted": 0.1, "observed": 0.2}],
        "importance": [{"feature": "<b>amount</b>", "importance": 0.1}],
    }


def test_metrics_of_two_versions_are_told_in_words():
    gain = {"gain": 0.1, "low": -0.05, "high": 0.2, "beyond_noise": False}
    found = {"versions": [compared("2", 0.8), compared("1", 0.7)], "gains": {"auc": gain}}
    rows = compare.metrics(found)
    assert [row["metric"] for row in rows] == [
        *("AUC", "average precision", "Brier score", "log loss", "F1", "precision", "recall"),
        "share called positive",
    ]
    assert rows[0] == {
        "metric": "AUC",
        "version 2": 0.8,
        "version 1": 0.7,
        "gain": "+0.1000",
        "interval": "-0.0500 to +0.2000",
        "beyond noise": "no",
    }
    assert {row["gain"] for row in rows[1:]} == {""}, "what has no gain shows none"
    nothing = {"gain": None, "low": None, "high": None, "beyond_noise": False}
    found = {"versions": [compared("2", None), compared("1", None)], "gains": {"auc": nothing}}
    assert compare.metrics(found)[0]["gain"] == "", "there is no AUC of a single class"


def test_two_versions_are_drawn_in_colours_of_their_own():
    found = {"versions": [compared("2", 0.8), compared("1", 0.7)]}
    for draw in (compare_charts.roc, compare_charts.precision_recall, compare_charts.calibration):
        drawn = draw(found)
        assert len({line.line.color for line in drawn.data}) == 3, "what they are held against is no version"
        assert [line.name for line in drawn.data[1:]] == ["version 2", "version 1"]
        for axis in (drawn.layout.xaxis, drawn.layout.yaxis):
            assert (axis.tickvals[0], axis.tickvals[-1]) == (0, 1)
    roc = compare_charts.roc(found)
    assert (list(roc.data[1].x), list(roc.data[1].y)) == ([0, 0.5, 1], [0, 0.9, 1])
    assert (roc.layout.xaxis.title.text, roc.layout.yaxis.title.text) == ("false positive rate", "true positive rate")
    assert list(compare_charts.precision_recall(found).data[0].y) == [0.2, 0.2], (
        "chance is right as often as any row is"
    )
    assert "<b>" not in str(compare_charts.importance(found).layout.yaxis.ticktext)
