"""Materialization: rows per second of stock Feast (its Redis online store) and of ours, on the same data.

Run: ``python -m benchmarks.materialize --rows 100000``; prints one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import redis

from benchmarks import online_data
from stores.writer import materialize


def run(rows: int) -> dict[str, float | int | str]:
    """Materialize ``rows`` rows of one view both ways, each on an empty server of its own, and compare the values.

    Stock Feast takes long enough to be timed once; of ours, the median of three runs counts.
    """
    wanted = online_data.features(views=1)
    keys = [{"key0": key} for key in range(0, rows, max(1, rows // 2000))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        objects = online_data.definitions(folder, rows, views=1)
        with online_data.server(folder / "stock_server") as running:
            stock = online_data.open_store(folder, "stock", "redis", f"127.0.0.1:{running.port}", objects)
            started = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):  # Feast prints what it does
                stock.materialize(online_data.START, online_data.NOW, disable_event_timestamp=False)
            stock_seconds = time.perf_counter() - started
            left = stock.get_online_features(wanted, keys).to_dict()
        seconds = []
        with online_data.server(folder / "our_server") as running, redis.Redis(port=running.port) as client:
            ours = online_data.open_store(folder, "ours", "redis", f"127.0.0.1:{running.port}", objects)
            for _ in range(3):
                client.flushall()
                report = materialize(ours, now=online_data.NOW)
                seconds.append(report.seconds)
            right = ours.get_online_features(wanted, keys).to_dict()
    differences = sum(
        not online_data.same(a, b) for column in left for a, b in zip(left[column], right[column], strict=True)
    )
    if report.written != rows or differences:
        raise SystemExit(f"{report.written} of {rows} rows written, {differences} values differ from stock Feast's.")
    our_seconds = statistics.median(seconds)
    return {
        "benchmark": "materialize",
        "rows": rows,
        "stock_rows_per_s": round(rows / stock_seconds),
        "ours_rows_per_s": round(rows / our_seconds),
        "values_compared": sum(len(values) for values in left.values()),
        "ratio": round(stock_seconds / our_seconds, 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    print(json.dumps(run(parser.parse_args().rows)))
