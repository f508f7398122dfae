"""The whole `/predict` (key, limits, lookup, model, log), against stock `feast serve` and a route that does nothing.

Run: ``python -m benchmarks.predict``; prints one line of JSON. Needs ``wrk`` and a feature repo that was built with
``punctual up --check``; it is copied, with a Valkey of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.load import Rate, wrk
from benchmarks.share import held
from benchmarks.stack import Server, Stack, stack
from core.repo import FeatureRepo
from serving.resolve import needs
from stores.registry import open_store
from stores.value_types import ValueType

CONNECTIONS = 16
HUNDRED = 100
MANY = 64  # connections, for workers that are to be busy each
SHARE = 0.35  # of a core, for a worker that is held back
ENOUGH_CORES = 6  # for two workers, what makes parts of their log, the store and the load


def predictions(stack: Stack, size: int) -> list[dict[str, Any]]:
    """Return request bodies of ``size`` different entities each."""
    return [{"entities": stack.ids[i : i + size]} for i in range(0, len(stack.ids) - size + 1, size)]


def lookups(stack: Stack, ours: Server) -> list[dict[str, Any]]:
    """Return the same requests for Feast: features alone, with all join keys and inputs, as it needs them."""
    client = httpx.Client(base_url=ours.url, headers={"authorization": f"Bearer {ours.key}"})
    with client:
        name = next(iter(stack.ids[0]))
        told = [client.get(f"/features/{one[name]}").raise_for_status().json() for one in stack.ids[:500]]
        made = client.post("/predict", json={"entities": stack.ids[:1]}).raise_for_status().json()
        record = client.get(f"/predictions/{made['predictions'][0]['prediction_id']}").raise_for_status().json()
    repo = FeatureRepo.load(stack.folder)
    types = needs(repo, open_store(repo)).types
    moments = {name for name, kind in types.items() if kind is ValueType.UNIX_TIMESTAMP}
    asked = []
    for one in told:
        # Feast hands JSON's values to on-demand views as they come: times as seconds.
        keys = {k: datetime.fromisoformat(v).timestamp() if k in moments else v for k, v in one["keys"].items()}
        entities = {k: [int(v) if k in moments else v] for k, v in keys.items()}
        asked.append({"feature_service": record["feature_service"], "entities": entities})
    return asked


def median(rates: Sequence[Rate]) -> Rate:
    """Return the round in the middle, by requests a second."""
    return sorted(rates, key=lambda rate: rate.per_second)[len(rates) // 2]


def two_workers(stack: Stack, seconds: float, rounds: int) -> tuple[float, float | None]:
    """Return how many times the requests/s of one worker two have: as the machine is, and with cores for both.

    On a machine of few cores, where the load and the store want them too, each worker is held to a part of one; None
    where that cannot be done.
    """
    one = predictions(stack, 1)
    with (
        held(SHARE) as hold,
        stack.ours(PUNCTUAL_SHADOW_SHARE="0") as single,
        stack.ours(workers=2, PUNCTUAL_SHADOW_SHARE="0") as double,
    ):

        def ratio(connections: int) -> float:
            found: dict[str, list[Rate]] = {"single": [], "double": []}
            for number in range(rounds + 1):
                for name, server in (("single", single), ("double", double)):
                    rate = wrk(f"{server.url}/predict", one, key=server.key, connections=connections, seconds=seconds)
                    if number:  # the first round warms up
                        found[name].append(rate)
            return _paired(found["double"], found["single"])

        together = ratio(CONNECTIONS)
        if (os.cpu_count() or 1) < ENOUGH_CORES:
            if hold is None:
                return together, None
            for pid in (*single.workers(), *double.workers()):
                hold(pid)
        return together, ratio(MANY)


def measure(stack: Stack, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure all of it; rivals take turns, so that each meets the same machine."""
    one, hundred = predictions(stack, 1), predictions(stack, HUNDRED)
    with (
        stack.ours(PUNCTUAL_SHADOW_SHARE="0") as ours,
        stack.ours() as shadowed,
        stack.feast() as feast,
        stack.bare() as bare,
    ):
        asked = lookups(stack, ours)
        predict, nothing, online = f"{ours.url}/predict", f"{bare.url}/predict", f"{feast.url}/get-online-features"
        wrk(predict, one, key=ours.key, connections=CONNECTIONS, seconds=2)
        wrk(online, asked, key="", connections=CONNECTIONS, seconds=2)
        found: dict[str, list[Rate]] = {name: [] for name in ("ours", "shadowed", "stock", "bare", "one", "hundred")}
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            found["ours"].append(wrk(predict, one, key=ours.key, connections=CONNECTIONS, seconds=seconds))
            found["shadowed"].append(
                wrk(f"{shadowed.url}/predict", one, key=shadowed.key, connections=CONNECTIONS, seconds=seconds)
            )
            found["stock"].append(wrk(online, asked, key="", connections=CONNECTIONS, seconds=seconds))
            found["bare"].append(wrk(nothing, [{}], key="", connections=CONNECTIONS, seconds=seconds))
            found["one"].append(wrk(predict, one, key=ours.key, connections=1, seconds=seconds))
            found["hundred"].append(wrk(predict, hundred, key=ours.key, connections=1, seconds=seconds))
        has_challenger = (stack.folder / "data" / "models" / "challenger.json").is_file()
        megabytes, ready = max(ours.megabytes()), ours.ready_seconds
    best = {name: median(rates) for name, rates in found.items()}
    together, apart = two_workers(stack, seconds, rounds)
    return {
        "ratio": round(best["ours"].per_second / best["stock"].per_second, 1),
        "ours_rps": round(best["ours"].per_second),
        "stock_rps": round(best["stock"].per_second),
        "bare_rps": round(best["bare"].per_second),
        "share_of_bare": round(_paired(found["ours"], found["bare"]), 3),
        "share_with_challenger": round(_paired(found["shadowed"], found["ours"]), 3) if has_challenger else None,
        "ours_p99_ms": round(best["ours"].p99_ms, 2),
        "stock_p99_ms": round(best["stock"].p99_ms, 1),
        "p99_share": round(best["ours"].p99_ms / best["stock"].p99_ms, 4),
        "one_ms": round(best["one"].p50_ms, 2),
        "hundred_ms": round(best["hundred"].p50_ms, 2),
        "hundred_ratio": round(_paired(found["hundred"], found["one"], "p50_ms"), 1),
        "two_workers_ratio": round(together, 2),
        "two_workers_apart_ratio": apart and round(apart, 2),
        "ours_peak_mb": megabytes,
        "ready_s": round(ready, 1),
    }


def _paired(ours: Sequence[Rate], other: Sequence[Rate], figure: str = "per_second") -> float:
    return statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in zip(ours, other, strict=True))


def main() -> None:
    """Parse the arguments and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder)) as built:
        print(json.dumps(measure(built, arguments.seconds, arguments.rounds)))


if __name__ == "__main__":
    main()
