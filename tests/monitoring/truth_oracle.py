"""What truth means, in plain Python: slow, and obvious."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

Row = dict[str, Any]


def truth(predictions: Sequence[Row], spine: Sequence[Row], now: datetime) -> dict[str, tuple[int, bool]]:
    """Return prediction id -> (label, whether it counts), for the predictions whose label is known by ``now``."""
    rows = _distinct(spine, now)
    labelled = []
    for prediction in predictions:
        row = _nearest(prediction, rows)
        if row is not None and _known(row, now) and prediction["predicted_at"] < row["label_timestamp"]:
            labelled.append((prediction, row))
    counting = {_best(prediction, row, labelled)["prediction_id"] for prediction, row in labelled}
    return {p["prediction_id"]: (row["missed"], p["prediction_id"] in counting) for p, row in labelled}


def _known(row: Row, now: datetime) -> bool:
    return row["missed"] is not None and row["label_timestamp"] is not None and row["label_timestamp"] <= now


def _distinct(spine: Sequence[Row], now: datetime) -> list[Row]:
    """Of rows with one key and moment, the one whose label became known last; a known one before one that is not."""
    groups: dict[tuple[int, datetime], list[Row]] = {}
    for row in spine:
        groups.setdefault((row["loan_id"], row["event_timestamp"]), []).append(row)
    best = []
    for group in groups.values():
        known = [row for row in group if _known(row, now)]
        best.append(max(known, key=lambda row: (row["label_timestamp"], row["missed"])) if known else group[0])
    return best


def _nearest(prediction: Row, spine: Sequence[Row]) -> Row | None:
    at = prediction["predicted_at"]
    own = [row for row in spine if row["loan_id"] == prediction["loan_id"]]
    return min(own, key=lambda row: (abs(row["event_timestamp"] - at), row["event_timestamp"] < at), default=None)


def _best(prediction: Row, row: Row, labelled: Sequence[tuple[Row, Row]]) -> Row:
    """Return which of all predictions of the same version for the same row counts."""
    rivals = [p for p, other in labelled if other is row and p["model_version"] == prediction["model_version"]]
    own = [p for p in rivals if p["customer_id"] == row["customer_id"]] or rivals
    before = [p for p in own if p["predicted_at"] <= row["event_timestamp"]]
    if before:
        return max(before, key=lambda p: (p["predicted_at"], p["prediction_id"]))
    return min(own, key=lambda p: (p["predicted_at"], p["prediction_id"]))
