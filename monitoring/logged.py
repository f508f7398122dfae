"""Reads the prediction log by the problem's clock: what was predicted in a window, as the model saw it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from monitoring.parts import counting, relation
from stores.sql import connect, moment, quote, text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from core.model import Feature
    from core.repo import FeatureRepo
    from monitoring.parts import Part

_TIME = pa.timestamp("us", tz="UTC")
_SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("predicted_at", _TIME),
        ("served_at", _TIME),
        ("model_version", pa.string()),
        ("probability", pa.float64()),
        ("class", pa.string()),
        ("stale", pa.list_(pa.string())),
        ("entity", pa.string()),
    ]
)
# What a prediction's chance of being in a sample hangs on: its id alone, the same in every version of DuckDB.
_LUCK = "md5_number_lower(prediction_id)"


def logged(
    repo: FeatureRepo,
    since: datetime,
    until: datetime,
    *,
    version: str | None = None,
    features: Sequence[Feature] | None = None,
    ids: pa.ChunkedArray | None = None,
    rows: int | None = None,
) -> pa.Table:
    """Return the predictions made in ``[since, until)``, in the order of the log; what-ifs are left out.

    Parameters
    ----------
    repo : FeatureRepo
        Whose log to read.
    since, until : datetime
        Timezone-aware, on the problem's clock (``predicted_at``); half-open.
    version : str, optional
        Only predictions of this model version.
    features : sequence of Feature, optional
        Inputs to give as columns of their own: float64 for numeric ones, string for categories; null where missing.
    ids : pyarrow.ChunkedArray of string, optional
        Only these predictions.
    rows : int, optional
        At most so many, chosen by a hash of the prediction id: the same ones each time, whenever they were made.
        Memory is that of these rows, however long the log is.

    Returns
    -------
    pyarrow.Table
        ``prediction_id``, ``predicted_at``, ``served_at``, ``model_version``, ``probability``, ``class``, ``stale``
        (list of views), ``entity`` (JSON), and one column a feature.
    """
    wanted = list(features or [])
    kinds = {f.name: pa.float64() if f.kind == "numeric" else pa.string() for f in wanted}
    schema = pa.schema([*_SCHEMA, *kinds.items()])
    chosen = _chosen(repo, since, until, version)
    if not chosen:
        return schema.empty_table()
    source = f"{relation(repo.layout, chosen)} WHERE {within(since, until, version)}"
    with connect() as con:
        if ids is not None:
            con.register("wanted", pa.table({"prediction_id": ids}))
            source += " AND prediction_id IN (SELECT prediction_id FROM wanted)"
        if rows is not None:
            worst = con.sql(f"SELECT {_LUCK} AS luck FROM {source} ORDER BY luck LIMIT 1 OFFSET {int(rows)}").fetchall()
            source += f" AND {_LUCK} < {worst[0][0]}" if worst else ""
        columns = ", ".join(map(quote, _SCHEMA.names))
        if wanted:
            shape = {name: "DOUBLE" if kind == pa.float64() else "VARCHAR" for name, kind in kinds.items()}
            columns += f", unnest(json_transform(features, {text(json.dumps(shape))}))"
        table = con.sql(f"SELECT {columns} FROM {source}").to_arrow_table()
    return table.cast(schema)


def count_logged(repo: FeatureRepo, since: datetime, until: datetime, *, version: str | None = None) -> int:
    """Return how many predictions were made in ``[since, until)`` on the problem's clock; what-ifs do not count."""
    chosen = _chosen(repo, since, until, version)
    cut = [p for p in chosen if p.first < since or p.last >= until or (version is not None and p.version != version)]
    count = sum(part.counted for part in chosen) - sum(part.counted for part in cut)
    if cut:
        with connect() as con:
            where = within(since, until, version)
            [(more,)] = con.sql(f"SELECT count(*) FROM {relation(repo.layout, cut)} WHERE {where}").fetchall()
            count += int(more)
    return count


def within(since: datetime | None, until: datetime | None, version: str | None = None) -> str:
    """Return the SQL condition of a window, open where a bound is None, and of a model version."""
    conditions = [f"predicted_at >= {moment(since)}"] if since else []
    conditions += [f"predicted_at < {moment(until)}"] if until else []
    conditions += [f"model_version = {text(version)}"] if version is not None else []
    return " AND ".join(conditions) or "true"


def _chosen(repo: FeatureRepo, since: datetime, until: datetime, version: str | None) -> list[Part]:
    there = counting(repo.layout, since, until)
    return [part for part in there if version is None or part.version in (None, version)]
