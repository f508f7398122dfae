"""The models this machine can serve: local copies of registered versions, and which of them has which role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import ModelUnavailable
from core.files import read_json
from core.model import HEADER, PredictionModel
from core.registry import pointed_version

if TYPE_CHECKING:
    from pathlib import Path

    from core.layout import Layout


def load(layout: Layout, version: str) -> PredictionModel:
    """Load a version from its local copy, without MLflow.

    Raises
    ------
    ModelUnavailable
        When there is none, or its copy is damaged.
    """
    model = PredictionModel.load(layout.models / version)
    model.metadata["version"] = version
    return model


def load_champion(layout: Layout) -> PredictionModel:
    """Load the champion from its local copy, without MLflow.

    Raises
    ------
    ModelUnavailable
        When there is none, or its copy is damaged.
    """
    version = pointed_version(layout, "champion")
    if version is None:
        raise no_champion()
    return load(layout, version)


def no_champion() -> ModelUnavailable:
    """Return the error for a machine where nothing was promoted."""
    return ModelUnavailable("There is no champion model to serve.", hint="Train and promote one: punctual train")


def folders(layout: Layout) -> list[Path]:
    """Return the folders of all local copies, the newest version first."""
    found = [p for p in layout.models.glob("*") if (p / HEADER).is_file() and not p.name.startswith(".")]
    return sorted(found, key=lambda p: (len(p.name), p.name), reverse=True)


def available(layout: Layout) -> dict[str, Any]:
    """Return every version with a local copy, newest first, and the versions of champion and challenger, or None."""
    models = []
    for folder in folders(layout):
        header = read_json(folder / HEADER)
        models.append(
            {
                "version": folder.name,
                "threshold": header["threshold"],
                "classes": header["classes"],
                "schema_hash": header["schema_hash"],
                "features": len(header["features"]),
                "lineage": header["metadata"],
            }
        )
    return {
        "champion": pointed_version(layout, "champion"),
        "challenger": pointed_version(layout, "challenger"),
        "models": models,
    }
