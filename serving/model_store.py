"""The models this machine can serve: local copies of registered versions, and which of them has which role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import ModelUnavailable, NoData, NotFound
from core.files import read_json
from core.model import HEADER, PredictionModel
from core.reference import Reference
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


def learned_from(layout: Layout, version: str, limit: int) -> dict[str, Any]:
    """Return some of the rows that a version learned from, a list a feature: what a value can be compared with.

    Parameters
    ----------
    layout : Layout
        Where the models are.
    version : str
        One with a local copy.
    limit : int
        At most so many rows; the sample that is kept beside a model is in no order.

    Raises
    ------
    NotFound
        When there is no such version here, or it is older than such samples are.
    ModelUnavailable
        When its sample was changed or cut short.
    """
    folder = next((one for one in folders(layout) if one.name == version), None)
    if folder is None:
        raise NotFound(f"There is no local copy of version {version[:80]!r}.", hint="GET /models/available lists them.")
    try:
        reference = Reference.load(folder)
    except NoData as error:  # waiting does not bring it
        raise NotFound(str(error)) from error
    names = [feature.name for feature in reference.features]
    rows = reference.sample.select(names).slice(0, limit)
    return {"version": version, "rows": rows.num_rows, "features": rows.to_pydict()}


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
