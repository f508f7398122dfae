"""Where a prediction came from: id -> model version -> training snapshot -> feature service -> raw data version."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import duckdb

from core.errors import UnknownEntity
from core.files import read_json
from core.model import HEADER
from serving.log import PredictionIds

if TYPE_CHECKING:
    from pathlib import Path

    from core.layout import Layout

_JSON = ("entity", "features", "features_as_of")
_AT_ONCE = 16  # parts
# A worker looks for one row now and then, beside requests: threads of DuckDB's would keep memory of their own, and
# fetching ahead it would hold whole columns of a merged part.
_SMALL = "SET threads = 1; SET memory_limit = '128MB'; SET disable_parquet_prefetching = true"


def find(layout: Layout, prediction_id: str, *, asked_by: str | None = None) -> dict[str, Any]:
    """Return a logged prediction with the lineage of the model that made it.

    Parameters
    ----------
    layout : Layout
        Where log and models are.
    prediction_id : str
        As ``/predict`` returned it.
    asked_by : str, optional
        Look among what this actor asked for alone.

    Raises
    ------
    UnknownEntity
        When the log holds no such id, or it is the answer to somebody else.
    """
    day = PredictionIds.date_of(prediction_id)
    record = _of_day(layout, day, prediction_id) if day else None
    if record is None and day:
        # A part is filed under the day of its first row: around midnight it may be the day before.
        before = date.fromisoformat(day) - timedelta(days=1)
        record = _of_day(layout, before.isoformat(), prediction_id)
    if record is None or asked_by not in (None, record.get("actor")):
        raise UnknownEntity(
            f"The log holds no prediction {prediction_id!r}.",
            hint="Ids are 32 hexadecimal digits, as /predict returns them.",
        )
    for name in _JSON:
        record[name] = json.loads(record[name])
    record |= {"actor": record.get("actor"), "what_if": bool(record.get("what_if"))}
    header = layout.models / record["model_version"] / HEADER
    lineage = read_json(header)["metadata"] if header.is_file() else {}
    return {**record, "lineage": {"model_version": record["model_version"], **lineage}}


def _of_day(layout: Layout, day: str, prediction_id: str) -> dict[str, Any] | None:
    """Return a prediction of one day's folder; once more where a part has just gone into a merged one."""
    try:
        return _read(_parts(layout, day, prediction_id), prediction_id)
    except duckdb.IOException:
        return _read(_parts(layout, day, prediction_id), prediction_id)


def _parts(layout: Layout, day: str, prediction_id: str) -> list[Path]:
    """Return the parts that may hold a prediction, the likeliest first: a part has the name of its first, ids sort."""
    found = (layout.predictions / day).glob("[!.]*.parquet")
    return sorted((path for path in found if path.name[: len(prediction_id)] <= prediction_id), reverse=True)


def _read(parts: list[Path], prediction_id: str) -> dict[str, Any] | None:
    if not parts:
        return None
    with duckdb.connect() as con:
        con.execute(f"SET TimeZone = 'UTC'; {_SMALL}")
        for i in range(0, len(parts), _AT_ONCE):
            cursor = con.execute(
                "SELECT * FROM read_parquet($parts, union_by_name = true) WHERE prediction_id = $id",
                {"parts": [str(p) for p in parts[i : i + _AT_ONCE]], "id": prediction_id},
            )
            if row := cursor.fetchone():
                return dict(zip([column[0] for column in cursor.description or []], row, strict=True))
    return None
