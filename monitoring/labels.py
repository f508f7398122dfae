"""The spine as truth needs it: one row a key and moment, with its label as far as it is known by now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from core.errors import ConfigError, DataError
from core.files import digest_of
from serving.resolve import needs
from stores.raw import columns_of, register_raw
from stores.registry import open_store, request_inputs
from stores.sources import as_utc
from stores.sql import moment, quote, text
from training.dataset import EVENT, LABEL_TIME

if TYPE_CHECKING:
    import duckdb

    from core.repo import FeatureRepo


@dataclass(frozen=True)
class Labels:
    """What the table ``labels`` holds.

    Its columns: ``moment``; ``label``, null while it is not known; ``label_timestamp``; and, under the names ``k0``,
    ``o0`` and ``s0`` and so on, the keys, the others and the slices that follow.

    Attributes
    ----------
    keys : dict of str to str
        Columns that say whose row it is -> SQL type: the problem's entity, and what else every request has to send.
    others : dict of str to str
        What a request may send beside them, and the spine has too: join keys that are looked up, request-time inputs.
    slices : list of str
        Those of problem.yaml that are columns of the spine.
    logged_slices : list of str
        Those that are not, but are logged with a prediction.
    missing_slices : list of str
        Those that are neither.
    shape : str
        The same for the same columns.
    """

    keys: dict[str, str]
    others: dict[str, str]
    slices: list[str]
    logged_slices: list[str]
    missing_slices: list[str]
    shape: str

    def key_of(self, row: str) -> str:
        """Return SQL for the keys of a row of ``labels``, or of a prediction with the same columns, as JSON text."""
        pairs = ", ".join(f"{text(name)}, {row}.k{i}" for i, name in enumerate(self.keys))
        return f"CAST(json_object({pairs}) AS VARCHAR)"


def load_labels(con: duckdb.DuckDBPyConnection, repo: FeatureRepo) -> Labels:
    """Run ``sql/spine.sql`` over the checked raw rows into the table ``labels`` of a connection.

    Of several rows with the same key and moment, the one whose label became known last counts. A label that becomes
    known after ``repo.clock.now()`` is not known yet.

    Raises
    ------
    ConfigError
        When the query fails, or lacks a column.
    DataError
        When a label is neither 0 nor 1.
    """
    register_raw(con, repo)
    kinds = columns_of(con, repo.spine, (EVENT, LABEL_TIME, repo.problem.label.column))
    keys, others, logged = _shared(repo, kinds)
    slices = [name for name in repo.problem.slices if name in kinds]
    logged_slices = [name for name in repo.problem.slices if name not in kinds and name in logged]
    named = [
        *(f"{quote(name)} AS k{i}" for i, name in enumerate(keys)),
        *(f"{quote(name)} AS o{i}" for i, name in enumerate(others)),
        *(f"CAST({quote(name)} AS VARCHAR) AS s{i}" for i, name in enumerate(slices)),
    ]
    label, label_time = quote(repo.problem.label.column), as_utc(LABEL_TIME, kinds[LABEL_TIME])
    known = f"{label} IS NOT NULL AND {label_time} <= {moment(repo.clock.now())}"
    same = ", ".join([*(f"k{i}" for i in range(len(keys))), "moment"])
    # The inner query ends before rows are chosen: by the label as it is known by now, not by the query's own columns.
    con.execute(
        f"CREATE OR REPLACE TABLE labels AS FROM (SELECT {', '.join(named)}, {as_utc(EVENT, kinds[EVENT])} AS moment, "
        f"CASE WHEN {known} THEN {label} END AS label, CASE WHEN {known} THEN {label_time} END AS label_timestamp "
        f"FROM ({repo.spine.text})) "
        f"QUALIFY row_number() OVER (PARTITION BY {same} ORDER BY label_timestamp DESC NULLS LAST, label DESC) = 1"
    )
    if wrong := con.execute("SELECT label FROM labels WHERE label NOT IN (0, 1) LIMIT 1").fetchall():
        name = repo.problem.label.column
        raise DataError(f"The label {name} holds {wrong[0][0]!r}; it must be 0 or 1.", hint="Mend sql/spine.sql.")
    shape = digest_of(*keys, "|", *others, "|", *slices, "|", *logged_slices)
    missing = [name for name in repo.problem.slices if name not in slices and name not in logged_slices]
    return Labels(keys, others, slices, logged_slices, missing, shape)


def fingerprints(con: duckdb.DuckDBPyConnection, labels: Labels, asked: str) -> dict[date, int]:
    """Return for each day what changes when any label of the keys that it asked for does.

    Parameters
    ----------
    con : duckdb connection
        With the table ``labels``.
    labels : Labels
        What is in it.
    asked : str
        SQL after FROM: ``day`` and ``key``, as :meth:`Labels.key_of` gives it, each pair once.

    Returns
    -------
    dict
        Days none of whose keys has a row in the spine are left out.
    """
    columns = [*(f"o{i}" for i in range(len(labels.others))), *(f"s{i}" for i in range(len(labels.slices)))]
    row = ", ".join(f"n.{name}" for name in ("moment", "label", "label_timestamp", *columns))
    # As text: the hash of several values falls apart into theirs, and two rows that swap labels would cancel out.
    # Only says whether anything is new: that the hash may be another in the next version of DuckDB does no harm.
    found = con.execute(
        f"WITH known AS (SELECT {labels.key_of('n')} AS key, bit_xor(hash(CAST(row({row}) AS VARCHAR))) AS rows "
        "FROM labels AS n GROUP BY 1) "
        f"SELECT day, bit_xor(hash(key || ' ' || rows)) FROM {asked} JOIN known USING (key) GROUP BY day"
    )
    return dict(found.fetchall())


def _shared(repo: FeatureRepo, kinds: dict[str, str]) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Return which columns are keys, which others a request and the spine share, and all names that are logged."""
    store = open_store(repo)
    wanted = needs(repo, store)
    inputs = request_inputs(store, wanted.service)
    own = [n for n in wanted.types if n in wanted.entity_keys or not (n in wanted.lookups or n in inputs)]
    if absent := [name for name in own if name not in kinds]:
        raise ConfigError(
            f"sql/spine.sql gives no column {', '.join(absent)}, by which predictions are asked for: no label can be "
            "joined to them.",
            hint="Add it to the query.",
        )
    keys = {name: kinds[name] for name in own}
    others = {name: kinds[name] for name in wanted.types if name in kinds and name not in keys}
    features = {f.name for p in wanted.service.feature_view_projections for f in p.features}
    return keys, others, features | wanted.types.keys()
