"""Ground truth, drift, alerts and retraining."""
