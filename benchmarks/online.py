"""Online reads: milliseconds a call of the Feast SDK's ``get_online_features`` and of our reader, on the same data.

Run: ``python -m benchmarks.online --rows 100``; prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import online_data
from stores.reader import OnlineReader
from stores.writer import materialize

STORED = 5_000


def _milliseconds(call: Callable[[], Any], seconds: float) -> list[float]:
    for _ in range(5):
        call()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        call()
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def run(rows: int, seconds: float) -> dict[str, float | int | str]:
    """Read ``rows`` rows of six views both ways, in turns, and compare every value."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with online_data.server(folder) as running:
            address = f"{running.host}:{running.port}"
            objects = online_data.definitions(folder, STORED)
            store = online_data.open_store(folder, "bench", "redis", address, objects)
            materialize(store, now=online_data.NOW)
            wanted = online_data.features()
            keys = [{f"key{v}": i * 7 % STORED for v in range(online_data.VIEWS)} for i in range(rows)]
            reader = OnlineReader(store, wanted)
            loop = asyncio.new_event_loop()

            def ours() -> Any:
                given = {name: [key[name] for key in keys] for name in reader.join_keys}
                return loop.run_until_complete(reader.read(given, len(keys), online_data.NOW))

            def stock() -> Any:
                return store.get_online_features(wanted, keys).to_dict()

            left, right = stock(), ours().columns
            differences = sum(
                not online_data.same(a, b) for column in right for a, b in zip(left[column], right[column], strict=True)
            )
            if differences:
                raise SystemExit(f"{differences} values differ from the SDK's.")
            times: dict[str, list[float]] = {"stock": [], "ours": []}
            for _ in range(4):  # in turns, so that a busy machine slows both
                times["stock"] += _milliseconds(stock, seconds / 8)
                times["ours"] += _milliseconds(ours, seconds / 8)
            reader.close()
            loop.close()
    stock_ms, ours_ms = statistics.median(times["stock"]), statistics.median(times["ours"])
    return {
        "benchmark": "online",
        "rows": rows,
        "stock_ms": round(stock_ms, 3),
        "ours_ms": round(ours_ms, 3),
        "ours_p99_ms": round(statistics.quantiles(times["ours"], n=100)[98], 3),
        "values_compared": sum(len(values) for values in right.values()),
        "ratio": round(stock_ms / ours_ms, 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=16.0)
    options = parser.parse_args()
    print(json.dumps(run(options.rows, options.seconds)))
