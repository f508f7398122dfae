"""Point-in-time join: ours against stock Feast's DuckDB store, and at scale against a hand-written ASOF query.

``python -m benchmarks.pit --rows 1000`` joins 1,000 entity rows to six feature views with both stores in one
run, on the same files, checks that the values are equal, and prints one JSON line whose ``ratio`` is stock's time
over ours. From 20,000 rows on, stock no longer fits in memory; there ``ratio`` is our time over that of the ASOF
query that one would write by hand. Every store runs in a process of its own, so ``peak_mb`` is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import data

OURS = {"type": "stores.offline.DuckDBAsofOfflineStore"}
STOCK = {"type": "duckdb"}
LARGEST_FOR_STOCK = 10_000
RIVALS = ("ours", "stock", "handwritten")


def retrieval(kind: dict[str, str], folder: Path, entities: pd.DataFrame, ttl: bool) -> Callable[[], pa.Table]:
    """Return a retrieval of all features through Feast."""
    store = data.feature_store(folder, kind, ttl=ttl)

    def run() -> pa.Table:
        # Both stores honour knowledge time: ours by default, Feast's because it is asked to.
        job = store.get_historical_features(entities, data.references(), filter_by_created_timestamp=kind is STOCK)
        return job.to_arrow()

    return run


def handwritten(folder: Path, entities: pd.DataFrame, ttl: bool) -> Callable[[], pa.Table]:
    """Return the query that a DuckDB user would write for these views; it knows that no row is backfilled."""
    from stores.sql import connect

    features, joins = [], []
    for view in data.VIEWS:
        alive = f"{view.name}.event_timestamp + INTERVAL {view.ttl.total_seconds()} SECONDS >= e.event_timestamp"
        for name in view.features:
            value = f"{view.name}.{name}"
            features.append(f"CASE WHEN {alive} THEN {value} END AS {name}" if ttl and view.ttl else value)
        match = " AND ".join(f"e.{key} = {view.name}.{key}" for key in view.keys)
        joins.append(
            f"ASOF LEFT JOIN read_parquet('{folder / view.name}.parquet') AS {view.name} "
            f"ON {match} AND e.event_timestamp >= {view.name}.event_timestamp"
        )
    sql = f"SELECT e.*, {', '.join(features)} FROM entities AS e {' '.join(joins)} ORDER BY e.flight"

    def run() -> pa.Table:
        with connect() as con:
            con.register("entities", pa.Table.from_pandas(entities, preserve_index=False))
            return con.sql(sql).to_arrow_table()

    return run


def measure(rival: str, folder: Path, rows: int, repeats: int, ttl: bool) -> dict[str, Any]:
    """Run one rival in this process: wall and CPU seconds, peak memory, and its values on disk to compare."""
    warnings.simplefilter("ignore")
    entities = data.entity_rows(rows)
    if rival == "handwritten":
        run = handwritten(folder, entities, ttl)
    else:
        run = retrieval(OURS if rival == "ours" else STOCK, folder, entities, ttl)
    if rows <= LARGEST_FOR_STOCK:
        # Imports and the registry are loaded by a first call on a few rows; neither store is timed for them.
        few = data.entity_rows(10)
        retrieval(OURS if rival == "ours" else STOCK, folder, few, ttl)()
    seconds, cpu = [], []
    for _ in range(repeats):
        start, busy = time.perf_counter(), time.process_time()
        result = run()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    pq.write_table(result, folder / f"{rival}.result")
    return {"seconds": seconds, "cpu": cpu, "peak_mb": peak}


def in_subprocess(rival: str, folder: Path, rows: int, repeats: int, ttl: bool) -> dict[str, Any]:
    """Measure one rival in a fresh process: nobody's memory or caches help or hurt another."""
    command = [sys.executable, "-m", "benchmarks.pit", "--rival", rival, "--folder", str(folder)]
    command += ["--rows", str(rows), "--repeats", str(repeats), *(["--ttl"] if ttl else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def equal(folder: Path, one: str, other: str) -> bool:
    """Compare the values of two results, row by row of the entity rows, floats exactly."""
    order, columns = "flight", [ref.partition(":")[2] for ref in data.references()]
    frames = [pq.read_table(folder / f"{name}.result").to_pandas() for name in (one, other)]
    left, right = (f.sort_values(order, ignore_index=True)[[order, *columns]] for f in frames)
    return all(bool(((left[c] == right[c]) | (left[c].isna() & right[c].isna())).all()) for c in left.columns) and len(
        left
    ) == len(right)


def compare(rows: int, ttl: bool, backfilled: float) -> dict[str, Any]:
    """Measure ours and its rival on the same files."""
    small = rows <= LARGEST_FOR_STOCK
    rival = "stock" if small else "handwritten"
    with tempfile.TemporaryDirectory(prefix="pit-") as name:
        folder = Path(name)
        data.write(folder, backfilled=backfilled)
        repeats = 5 if rows <= 1_000_000 else 2
        theirs = in_subprocess(rival, folder, rows, 1 if small else repeats, ttl)
        ours = in_subprocess("ours", folder, rows, repeats, ttl)
        same = equal(folder, "ours", rival)
    medians = {who: statistics.median(m["seconds"]) for who, m in (("ours", ours), (rival, theirs))}
    ratio = medians[rival] / medians["ours"] if small else medians["ours"] / medians[rival]
    cpu = {who: round(statistics.median(m["cpu"]), 3) for who, m in (("ours", ours), (rival, theirs))}
    return {
        "benchmark": "pit",
        "rows": rows,
        "views": len(data.VIEWS),
        "ttl": ttl,
        "backfilled": backfilled,
        "ratio": round(ratio, 2),
        "ratio_of": f"{rival}/ours" if small else f"ours/{rival}",
        "ours_s": round(medians["ours"], 4),
        f"{rival}_s": round(medians[rival], 4),
        "ours_cpu_s": cpu["ours"],
        f"{rival}_cpu_s": cpu[rival],
        "ours_peak_mb": ours["peak_mb"],
        f"{rival}_peak_mb": theirs["peak_mb"],
        "values_equal": same,
    }


def main() -> int:
    """Parse the command line, measure, print one JSON line; exit code 1 when the values differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000, help="entity rows to join")
    parser.add_argument("--ttl", action="store_true", help="give the views ttls of hours and days; default: none")
    parser.add_argument(
        "--backfilled", type=float, default=0.0, help="share of feature rows known late (only up to 10,000 rows)"
    )
    parser.add_argument("--rival", choices=RIVALS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rival:
        print(json.dumps(measure(given.rival, given.folder, given.rows, given.repeats, given.ttl)))
        return 0
    if given.backfilled and given.rows > LARGEST_FOR_STOCK:
        parser.error("--backfilled needs --rows of at most 10,000: the hand-written query ignores created times")
    result = compare(given.rows, given.ttl, given.backfilled)
    print(json.dumps(result))
    return 0 if result["values_equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
