"""What a model learned from, small enough to keep beside it: a profile of every input, and a sample of the rows.

Drift is measured against it. Two files in the model's own folder, so that every copy of the model has them:
``reference.json``, counted over the whole training snapshot, and ``reference.parquet``, rows drawn from it. The SHA-256
of the rows stands in the profile. Serving reads neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import ModelUnavailable, NoData
from core.files import atomic_path, read_json, sha256, write_json
from core.model import Feature

PROFILE, SAMPLE = "reference.json", "reference.parquet"
SCORE = "predicted probability"  # no feature is called that
MOST_ROWS = 5_000
_HASH = "sample_sha256"


@dataclass(frozen=True)
class Reference:
    """The training snapshot of one model version, in short.

    Attributes
    ----------
    profile : dict
        ``rows`` (of the snapshot), ``features`` (one description each, in the model's order), ``score`` (the same for
        the model's calibrated probabilities), ``test`` (the model's metrics on its test rows, and their standard
        errors), and where it comes from: ``snapshot``, ``run_id``. A description has ``name``, ``kind``, ``missing``
        (share of the rows), ``top`` (share of the values that the commonest has), and how the values spread: either
        ``edges`` (upper bounds of all bins but the last) and ``counts`` (a bin), or ``values`` (value, as text, to
        count) and ``others`` (values that are counted together).
    sample : pyarrow.Table
        At most 5,000 rows, drawn from all rows of the snapshot alike: those that were trained on, that validated and
        that tested. A column a feature (float64 for numbers, string for categories), and :data:`SCORE`.
    """

    profile: dict[str, Any]
    sample: pa.Table

    @property
    def features(self) -> list[Feature]:
        """The model's inputs, without their categories."""
        return [Feature(f["name"], f["kind"]) for f in self.profile["features"]]

    def save(self, folder: Path) -> None:
        """Write both files into a model's folder, the profile last."""
        with atomic_path(folder / SAMPLE) as temporary:
            pq.write_table(self.sample, temporary, compression="zstd")
        write_json(folder / PROFILE, {**self.profile, _HASH: sha256(folder / SAMPLE)})

    @classmethod
    def load(cls, folder: Path) -> Reference:
        """Read the reference of the model in a folder.

        Raises
        ------
        NoData
            When the model has none: it is older than references are.
        ModelUnavailable
            When it was changed or cut short.
        """
        if not (folder / PROFILE).is_file():
            raise NoData(
                f"Model version {folder.name} has no reference of its training data: it is older than references are.",
                hint="Train anew: punctual train",
            )
        if not is_whole(folder):
            raise ModelUnavailable(
                f"The reference in {folder} is not the one that was written with the model.",
                hint="Move the folder away and ask again: it is fetched from the registry.",
            )
        profile = dict(read_json(folder / PROFILE))
        del profile[_HASH]
        return cls(profile, pq.read_table(folder / SAMPLE))


def is_whole(folder: Path) -> bool:
    """Say whether a model's folder has no reference, or a whole one."""
    if not (folder / PROFILE).is_file():
        return not (folder / SAMPLE).is_file()
    try:
        return bool(read_json(folder / PROFILE)[_HASH] == sha256(folder / SAMPLE))
    except (OSError, KeyError, TypeError, ValueError):
        return False


def as_drift_column(feature: Feature, values: Sequence[Any]) -> pa.Array:
    """Return values of a feature as the sample and the prediction log give them: float64, or text; None for missing."""
    if feature.kind == "numeric":
        return pa.array([None if v is None or v != v else float(v) for v in values], pa.float64())
    return pa.array([None if v is None or v != v else as_category(v) for v in values], pa.string())


def as_category(value: Any) -> str:
    """Return a category as text, as JSON writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
