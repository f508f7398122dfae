"""Materialization: rows per second of stock Feast (its Redis online store) and of ours, on the same data.

Run: ``python -m benchmarks.materialize --rows 100000``; prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from benchmarks import online_data
from stores.writer import materialize


def run(rows: int) -> dict[str, float | int | str]:
    """Materialize ``rows`` rows of one view both ways, and compare what the Feast SDK reads back."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with online_data.server(folder) as running:
            address = f"{running.host}:{running.port}"
            objects = online_data.definitions(folder, rows, views=1)
            stock = online_data.open_store(folder, "stock", "redis", address, objects)
            ours = online_data.open_store(folder, "ours", "redis", address, objects)
            started = time.perf_counter()
            stock.materialize(online_data.START, online_data.NOW, disable_event_timestamp=False)
            stock_seconds = time.perf_counter() - started
            report = materialize(ours, now=online_data.NOW)
            keys = [{"key0": key} for key in range(0, rows, max(1, rows // 2000))]
            wanted = online_data.features(views=1)
            left = stock.get_online_features(wanted, keys).to_dict()
            right = ours.get_online_features(wanted, keys).to_dict()
    differences = sum(
        not online_data.same(a, b) for column in left for a, b in zip(left[column], right[column], strict=True)
    )
    if report.written != rows or differences:
        raise SystemExit(f"{report.written} of {rows} rows written, {differences} values differ from stock Feast's.")
    return {
        "benchmark": "materialize",
        "rows": rows,
        "stock_rows_per_s": round(rows / stock_seconds),
        "ours_rows_per_s": round(rows / report.seconds),
        "values_compared": sum(len(values) for values in left.values()),
        "ratio": round(stock_seconds / report.seconds, 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    print(json.dumps(run(parser.parse_args().rows)))
