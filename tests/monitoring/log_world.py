"""A loans repo whose spine is a file and whose prediction log is written by hand: truth without a service."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.repo import FeatureRepo
from core.windows import Window
from serving.log import SCHEMA
from stores.registry import apply
from tests.repos.loans_world import LoansCopy

START = datetime(2024, 3, 1, tzinfo=UTC)
_TIME = pa.timestamp("us", tz="UTC")
SPINE = pa.schema(
    [
        ("loan_id", pa.int64()),
        ("customer_id", pa.int64()),
        ("region", pa.string()),
        ("event_timestamp", _TIME),
        ("missed", pa.int64()),
        ("label_timestamp", _TIME),
    ]
)
_DEFAULTS = {
    "entity": "{}",
    "features": "{}",
    "features_as_of": "{}",
    "stale": [],
    "probability": 0.5,
    "class": "paid",
    "model_version": "1",
    "feature_service": "default_risk",
    "schema_hash": "s",
    "correlation_id": "",
    "actor": "anna",
    "what_if": False,
}


def at(hours: float) -> datetime:
    """Return a moment so many hours after the start."""
    return START + timedelta(hours=hours)


@dataclass
class LogWorld(LoansCopy):
    """The loans repo, its definitions applied, its time and labels set by hand."""

    @classmethod
    def make(cls, folder: Path) -> LogWorld:
        """Copy the repo and apply its definitions."""
        world = cls.copy_to(folder)
        world.sql("spine", f"SELECT * FROM read_parquet('{folder}/spine.parquet')")
        (folder / "feature_store.yaml").write_text(
            (folder / "feature_store.yaml").read_text().replace("${PUNCTUAL_REDIS}", "127.0.0.1:1")
        )
        apply(world.repo)
        world.now(at(0))
        world.spine([])
        return world

    def clear(self) -> None:
        """Forget predictions and what monitoring found."""
        for path in (self.repo.layout.predictions, self.repo.layout.monitoring):
            shutil.rmtree(path, ignore_errors=True)

    def now(self, moment: datetime) -> None:
        """Set the problem's clock."""
        raw = FeatureRepo.load(self.folder).layout.raw
        shutil.rmtree(raw, ignore_errors=True)
        (raw / Window(START - timedelta(days=365), moment).id).mkdir(parents=True)

    def spine(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Say what ``sql/spine.sql`` gives."""
        table = pa.Table.from_pylist([{"customer_id": 1, "region": "north", **row} for row in rows], schema=SPINE)
        pq.write_table(table, self.folder / "spine.parquet")

    def log(self, *rows: Mapping[str, Any], day: str = "2030-01-01", old: bool = False) -> Path:
        """Write one part of the prediction log; ``entity`` and ``features`` may be objects.

        An ``old`` part is one of before it was logged who asked, and whether it was a what-if.
        """
        whole = [_DEFAULTS | {"served_at": START} | dict(row) for row in rows]
        for row in whole:
            for name in ("entity", "features", "features_as_of"):
                row[name] = row[name] if isinstance(row[name], str) else json.dumps(row[name])
        path = self.repo.layout.predictions / day / f"{whole[0]['prediction_id']}-1.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist(whole, schema=SCHEMA)
        pq.write_table(table.drop_columns(["actor", "what_if"]) if old else table, path)
        return path
