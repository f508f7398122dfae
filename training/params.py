"""Typed ``params.yaml``: everything about training that is not the problem's own business."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import ConfigError


class TrainParams(BaseModel):
    """The ``train`` section of params.yaml.

    Attributes
    ----------
    seed : int
        Seed of every random choice: the same data and params give the same model.
    max_categories : int
        Categories kept a feature, the most frequent ones; the rest counts as missing.
    refit : bool
        Whether the chosen candidate is fitted anew to train and validation rows, so that it has seen the newest ones.
    logistic, hist_gradient_boosting, catboost : dict
        Parameters of each candidate's estimator.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 7
    max_categories: int = Field(200, ge=2, le=254)
    refit: bool = True
    logistic: dict[str, Any] = {"C": 0.1, "max_iter": 300}
    hist_gradient_boosting: dict[str, Any] = {
        "learning_rate": 0.1,
        "max_iter": 150,
        "max_leaf_nodes": 31,
        "min_samples_leaf": 100,
        "l2_regularization": 5.0,
    }
    catboost: dict[str, Any] = {
        "iterations": 400,
        "learning_rate": 0.1,
        "depth": 6,
        "l2_leaf_reg": 6.0,
        "border_count": 64,
        "one_hot_max_size": 255,  # few categories: one-hot is as good here, and several times faster to train
    }

    @classmethod
    def load(cls, path: Path) -> TrainParams:
        """Read ``params.yaml``; without the file the defaults count.

        Raises
        ------
        ConfigError
            Naming the file, the field and its value.
        """
        if not path.is_file():
            return cls()
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise ConfigError(f"{path} is not YAML: {error}", hint="Mend the line it names.") from error
        try:
            return cls.model_validate(content.get("train", {}))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise ConfigError(
                f"{path}: train.{field}: {first['msg']} (got {first.get('input')!r}).", hint="Mend that field."
            ) from error
