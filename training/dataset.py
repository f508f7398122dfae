"""The training set: the spine's rows with the features that were known at each row's moment, kept as a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import DataError, NoData
from core.files import atomic_dir, read_json, sha256, write_json
from core.progress import progress
from core.windows import list_windows
from stores.raw import columns_of, data_version, register_raw
from stores.registry import feature_service, open_store, registry_version
from stores.sql import connect, moment, quote

if TYPE_CHECKING:
    from core.repo import FeatureRepo

EVENT, LABEL_TIME, ROW = "event_timestamp", "label_timestamp", "row_id"
SNAPSHOT, MANIFEST = "train.parquet", "manifest.json"


def build_spine(repo: FeatureRepo) -> pa.Table:
    """Run ``sql/spine.sql`` over the checked raw rows.

    Returns
    -------
    pyarrow.Table
        One row a past moment of prediction whose label is known by now: join keys, ``event_timestamp``, request-time
        inputs, the label (0 or 1) and ``label_timestamp``, ordered by time and key.

    Raises
    ------
    NoData
        When nothing is validated, or no label is known yet.
    ConfigError
        When the query fails or lacks a column.
    """
    if not list_windows(repo.layout.valid):
        raise NoData("There are no checked rows to learn from.", hint="Run: punctual validate")
    label = repo.problem.label.column
    with connect() as con:
        register_raw(con, repo)
        found = columns_of(con, repo.spine, (EVENT, LABEL_TIME, label))
        order = ", ".join(map(quote, [EVENT, *sorted(c for c in found if c != EVENT)]))
        rows = con.sql(
            f"SELECT * FROM ({repo.spine.text}) WHERE {quote(LABEL_TIME)} <= {moment(repo.clock.now())} "
            f"AND {quote(label)} IS NOT NULL ORDER BY {order}"
        ).to_arrow_table()
        other = con.execute(
            f"SELECT {quote(label)} FROM ({repo.spine.text}) WHERE {quote(label)} NOT IN (0, 1) LIMIT 1"
        ).fetchone()
    if other is not None:
        raise DataError(f"The label {label} holds {other[0]!r}; it must be 0 or 1.", hint="Mend sql/spine.sql.")
    if rows.num_rows == 0:
        raise NoData("No label is known yet.", hint="Fetch more windows: punctual fetch")
    return rows


def build_dataset(repo: FeatureRepo) -> dict[str, Any]:
    """Join features to the spine, point in time, and write the snapshot with its manifest.

    Every row of the spine is there once, in its order, under a ``row_id``. The same raw windows, definitions and
    clock give the same bytes.

    Returns
    -------
    dict
        The manifest: rows, hash, and the versions of everything that went in.
    """
    with progress("Building the training set", total=3) as advance:
        spine = build_spine(repo)
        advance(note="point-in-time join")
        store = open_store(repo)
        service = feature_service(repo, store)
        keep = spine.drop_columns([LABEL_TIME])
        joined = store.get_historical_features(
            entity_df=keep.to_pandas(integer_object_nulls=True), features=service
        ).to_arrow()
        if joined.num_rows != spine.num_rows:
            raise DataError(f"The join gave {joined.num_rows} rows for {spine.num_rows} of the spine.")
        advance(note="writing")
        joined = joined.append_column(LABEL_TIME, spine.column(LABEL_TIME))
        joined = joined.add_column(0, ROW, pa.array(range(joined.num_rows), pa.int64()))
        manifest = _manifest(repo, joined, [ROW, *spine.column_names])
        with atomic_dir(repo.layout.dataset) as folder:
            pq.write_table(
                joined.replace_schema_metadata(),
                folder / SNAPSHOT,
                coerce_timestamps="us",
                allow_truncated_timestamps=True,
            )
            manifest["sha256"] = sha256(folder / SNAPSHOT)
            write_json(folder / MANIFEST, manifest)
        advance()
    return manifest


def read_dataset(repo: FeatureRepo) -> tuple[pa.Table, dict[str, Any]]:
    """Return the snapshot and its manifest.

    Raises
    ------
    NoData
        When none was built.
    DataError
        When the file is not the one the manifest names.
    """
    manifest = read_manifest(repo)
    return pq.read_table(repo.layout.dataset / SNAPSHOT), manifest


def read_manifest(repo: FeatureRepo) -> dict[str, Any]:
    """Return what the snapshot was built from, and its hash, once that is the snapshot's.

    Raises
    ------
    NoData
        When none was built.
    DataError
        When the file is not the one the manifest names.
    """
    path = repo.layout.dataset / SNAPSHOT
    if not path.is_file():
        raise NoData("There is no training set.", hint="Run: punctual dataset")
    manifest = dict(read_json(repo.layout.dataset / MANIFEST))
    if sha256(path) != manifest["sha256"]:
        raise DataError(f"{path} was changed since it was built.", hint="Build it again: punctual dataset")
    return manifest


def _manifest(repo: FeatureRepo, rows: pa.Table, spine_columns: list[str]) -> dict[str, Any]:
    return {
        "rows": rows.num_rows,
        "columns": {f.name: str(f.type) for f in rows.schema},
        "spine_columns": spine_columns,
        "data_version": data_version(repo),
        "raw_until": list_windows(repo.layout.raw)[-1].until.isoformat(),
        "registry_version": registry_version(repo),
        "feature_service": repo.problem.feature_service,
        "spine_version": repo.spine.version,
        "queries": {name: query.version for name, query in repo.queries.items()},
        "label": repo.problem.label.column,
    }
