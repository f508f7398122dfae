"""Which row of the spine a prediction is about.

A prediction belongs to the row with its keys whose moment is nearest; of two as near, the one to come. It says
something about the model only if it was made before that row's label was known. Of all predictions of one model
version for one row one counts: the last one at or before the row's moment, else the first one after it. A prediction
whose other keys and inputs are not the row's own (something was tried out without saying so, or a plan was changed
later) counts only where there is no other; one that says that it is a what-if never does.
``tests/monitoring/truth_oracle.py`` says the same in plain Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from stores.sql import quote, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from monitoring.labels import Labels

_TIME = pa.timestamp("us", tz="UTC")
_PREDICTION = [
    ("prediction_id", pa.string()),
    ("predicted_at", _TIME),
    ("model_version", pa.string()),
    ("probability", pa.float64()),
    ("class", pa.string()),
]
_TRUTH = [("label", pa.int8()), ("label_timestamp", _TIME)]
# What decides which prediction counts: the spine's row, and whether the prediction is of its very keys and inputs.
_ROW = [("key", pa.string()), ("moment", _TIME), ("agrees", pa.bool_())]

# The order in which the predictions for one row of the spine come: the first one counts.
COUNTS_FIRST = (
    "agrees DESC, "
    "CASE WHEN predicted_at <= moment THEN predicted_at END DESC NULLS LAST, "
    "CASE WHEN predicted_at <= moment THEN prediction_id END DESC NULLS LAST, "
    "predicted_at, prediction_id"
)


def truth_schema(slices: Sequence[str]) -> pa.Schema:
    """Return the columns of stored truth."""
    return pa.schema([*_PREDICTION, *_TRUTH, *((name, pa.string()) for name in slices), *_ROW])


def match(con: duckdb.DuckDBPyConnection, labels: Labels, predictions: str) -> tuple[pa.Table, pa.Table]:
    """Join the labels of a connection to predictions.

    Parameters
    ----------
    con : duckdb connection
        With the table ``labels``.
    labels : Labels
        What is in it.
    predictions : str
        SQL after FROM: rows of the prediction log.

    Returns
    -------
    truth : pyarrow.Table
        Of :func:`truth_schema`, in the order of the ids: every prediction that may count, ``label`` null where it is
        not known yet.
    after : pyarrow.Table
        ``prediction_id``, ``predicted_at`` and ``key`` of those that were made when the label was known already.
    """
    con.execute(f"CREATE OR REPLACE TEMP TABLE asked AS SELECT {_asked(labels)} FROM {predictions}")
    keys = [f"k{i}" for i in range(len(labels.keys))]
    con.execute(f"CREATE OR REPLACE TEMP TABLE near AS SELECT * FROM labels SEMI JOIN asked USING ({', '.join(keys)})")
    equal = " AND ".join(f"a.{key} = n.{key}" for key in keys)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE placed AS "
        "WITH before AS ("
        f"SELECT a.*, n.moment AS earlier FROM asked AS a ASOF LEFT JOIN near AS n "
        f"ON {equal} AND a.predicted_at >= n.moment), "
        f"around AS (SELECT a.*, n.moment AS later FROM before AS a ASOF LEFT JOIN near AS n "
        f"ON {equal} AND a.predicted_at < n.moment) "
        "SELECT * EXCLUDE (earlier, later), coalesce(CASE WHEN epoch_us(later) - epoch_us(predicted_at) "
        "<= epoch_us(predicted_at) - epoch_us(earlier) THEN later ELSE earlier END, later) AS moment FROM around"
    )
    row = f"placed AS a LEFT JOIN near AS n ON {equal} AND a.moment = n.moment"
    known = "a.predicted_at >= n.label_timestamp"
    truth = con.sql(
        f"SELECT {_told(labels)} FROM {row} WHERE ({known}) IS NOT TRUE ORDER BY prediction_id"
    ).to_arrow_table()
    after = con.sql(
        f"SELECT a.prediction_id, a.predicted_at, {labels.key_of('a')} AS key FROM {row} WHERE {known}"
    ).to_arrow_table()
    return truth.cast(truth_schema([*labels.slices, *labels.logged_slices])), after


def _asked(labels: Labels) -> str:
    """Return the columns of a logged prediction, its keys and inputs in the types of the spine."""
    columns = [quote(name) for name, _ in _PREDICTION]
    for prefix, named in (("k", labels.keys), ("o", labels.others)):
        columns += [
            f"TRY_CAST({_from('entity', name)} AS {t}) AS {prefix}{i}" for i, (name, t) in enumerate(named.items())
        ]
    columns += [f"{_from('entity', name)} AS s{i}" for i, name in enumerate(labels.slices)]
    columns += [
        f"coalesce({_from('entity', name)}, {_from('features', name)}) AS l{i}"
        for i, name in enumerate(labels.logged_slices)
    ]
    return ", ".join(columns)


def _told(labels: Labels) -> str:
    """Return the columns of the truth of a prediction ``a`` and its row ``n``."""
    columns = [f"a.{quote(name)}" for name, _ in _PREDICTION]
    columns += ["CAST(n.label AS TINYINT) AS label", "n.label_timestamp"]
    # The spine knows best; a prediction that waits for its row has what it was asked with.
    columns += [f"coalesce(n.s{i}, a.s{i}) AS {quote(name)}" for i, name in enumerate(labels.slices)]
    columns += [f"a.l{i} AS {quote(name)}" for i, name in enumerate(labels.logged_slices)]
    columns += [f"{labels.key_of('a')} AS key", "a.moment"]
    agrees = [f"a.o{i} IS NOT DISTINCT FROM n.o{i}" for i in range(len(labels.others))]
    columns += [f"({' AND '.join(agrees) or 'true'}) AS agrees"]
    return ", ".join(columns)


def _from(column: str, name: str) -> str:
    path = '$."{}"'.format(name.replace('"', '\\"'))
    return f"json_extract_string({column}, {text(path)})"
