"""What metrics are called where people read them."""

from __future__ import annotations

# In the order to show them in: ranking, probabilities, decisions.
METRIC_NAMES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "log_loss": "log loss",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "called_share": "share called positive",
}
