"""The models this machine can serve: local copies of registered versions, and which of them is champion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import ModelUnavailable
from core.files import read_json
from core.model import HEADER, PredictionModel

if TYPE_CHECKING:
    from core.layout import Layout


def champion_version(layout: Layout) -> str:
    """Return the version that the local pointer names.

    Raises
    ------
    ModelUnavailable
        When nothing was promoted on this machine.
    """
    pointer = layout.models / "champion.json"
    if not pointer.is_file():
        raise ModelUnavailable("There is no champion model to serve.", hint="Train and promote one: punctual train")
    return str(read_json(pointer)["version"])


def load_champion(layout: Layout) -> PredictionModel:
    """Load the champion from its local copy, without MLflow.

    Raises
    ------
    ModelUnavailable
        When there is none, or its copy is damaged.
    """
    version = champion_version(layout)
    model = PredictionModel.load(layout.models / version)
    model.metadata["version"] = version
    return model


def available(layout: Layout) -> dict[str, Any]:
    """Return every version with a local copy, newest first, and the champion's version."""
    folders = [p for p in layout.models.glob("*") if (p / HEADER).is_file() and not p.name.startswith(".")]
    models = []
    for folder in sorted(folders, key=lambda p: (len(p.name), p.name), reverse=True):
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
    return {"champion": champion_version(layout), "models": models}
