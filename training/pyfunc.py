"""Lets any MLflow tool load and call a registered model: MLflow keeps this file beside it, and runs it to load one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class ProbabilityModel(PythonModel):
    """Gives the calibrated probability of the positive class for each row of a frame."""

    def load_context(self, context: Any) -> None:
        """Open the model folder among the artifacts."""
        from core.model import PredictionModel

        self._model = PredictionModel.load(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        """Return probabilities, shape (n,), for the features of each row."""
        frame = model_input.astype(object).where(model_input.notna(), None)
        return self._model.predict_proba({str(name): frame[name].tolist() for name in frame})


set_model(ProbabilityModel())
