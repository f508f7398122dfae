"""Runs every benchmark one after the other and writes docs/performance.md (``make bench``)."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.predict import SHARE

BY_HAND = "## Where a prediction's time goes\n"  # from here on the page is not measured again
PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
# What is measured, the command, the bar that must be reached, and whether a larger ratio is better.
RUNS: list[tuple[str, list[str], float, bool]] = [
    ("point-in-time join, 100 rows, 6 views", ["pit", "--rows", "100"], 1, True),
    ("point-in-time join, 1,000 rows, 6 views", ["pit", "--rows", "1000"], 100, True),
    ("point-in-time join, 334,000 rows", ["pit", "--rows", "334000"], 1.5, False),
    ("point-in-time join, 3,300,000 rows", ["pit", "--rows", "3300000"], 1.5, False),
    ("materialize 100,000 rows", ["materialize"], 5, True),
    ("online read, 1 row", ["online", "--rows", "1"], 2, True),
    ("online read, 100 rows", ["online", "--rows", "100"], 4, True),
]
HEAD = """# Performance

Ours and stock Feast {feast}, side by side in one run on the same data and the same machine; every run also checks
that both give the same values. Times on a shared machine are noisy, so the ratio is what counts. `make bench` measures
again and rewrites this page as far as [here](#where-a-predictions-time-goes); each row can be run alone:
`.venv/bin/python -m benchmarks.<command>`.

Measured with {cores} cores, Python {python}, DuckDB {duckdb}, Feast {feast}.

| what | command | ratio | bar | ours | other |
|---|---|---:|---:|---:|---:|
"""
# Of `predict`: what, member of its answer, bar, and whether more is better.
PATH: list[tuple[str, str, float, bool]] = [
    ("requests/s at 16 connections, times stock `feast serve` (features alone)", "ratio", 8, True),
    ("requests/s at 16 connections, of a FastAPI route that does nothing", "share_of_bare", 0.25, True),
    ("99th percentile at 16 connections, of `feast serve`'s", "p99_share", 0.05, False),
    ("latency of 100 entities, times that of one", "hundred_ratio", 6, False),
    ("requests/s of two workers, times one's, with cores to spare", "two_workers_apart_ratio", 1.6, True),
    ("memory of a worker after that load, MB", "ours_peak_mb", 400, False),
    ("seconds from start to ready", "ready_s", 8, False),
]
LOOP: list[tuple[str, str, float]] = [
    ("99th percentile of one entity at half the knee, ms", "p99_1_ms", 10),
    ("99th percentile of 100 entities at half the knee, ms", "p99_100_ms", 25),
]
PREDICTION = """
## The prediction service

The whole `/predict`: key check, rate limit, lookup, model, log. `.venv/bin/python -m benchmarks.predict` has one
worker of ours, one of stock `feast serve` (features alone, on the same Valkey) and a FastAPI route that does nothing on
the same server take turns under `wrk`, on a copy of the feature repo.
`.venv/bin/python -m benchmarks.soak` sends requests when they are due, whatever has become of the earlier ones (time
counts from when a request was due), finds the rate at which the 99th percentile leaves 50 ms (the knee), looks at half
of it for a minute at least (the median of runs of 10,000 requests), and soaks there with the store killed by `kill -9`
in the middle. The load, Valkey and the service share the cores named above. Where these are few, two workers and one
are each held to {share:g} of a core, by Linux's control groups, to see what a second is worth where there are cores for
it; that needs root.

| what | found | bar |
|---|---:|---:|
"""
FOOT = """
For the joins up to 10,000 rows *other* is Feast's own DuckDB store, and the ratio its time over ours. Beyond, Feast's
store does not fit in memory: *other* is the ASOF query that one would write by hand, and the ratio our time over its.
Each rival runs in a process of its own; MB is that process's peak memory. For online reads and materialization,
*other* is Feast's SDK on a Valkey of the same build.

The views of the join have no ttl, which is Feast's default. With ttls of hours to days (`pit --ttl`) Feast's store has
few rows to compare, and takes about as long as ours: the gap is what history costs.
"""


def measure(command: list[str]) -> dict[str, Any]:
    """Run one benchmark in a process of its own and return its JSON line."""
    print("benchmarks." + " ".join(command), file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{command[0]}", *command[1:]], stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise SystemExit(f"benchmarks.{' '.join(command)} failed: the lines above say why.")
    line = done.stdout.decode().strip().splitlines()[-1]
    print(line, flush=True)
    return dict(json.loads(line))


def row(what: str, command: list[str], bar: float, higher: bool, found: dict[str, Any]) -> str:
    """Return one row of the table."""
    ratio = found["ratio"]
    reached = ratio >= bar if higher else ratio <= bar
    sign = "≥" if higher else "≤"
    facts = {who: _facts(found, who) for who in ("ours", "stock", "handwritten")}
    other = facts["stock"] or facts["handwritten"]
    return (
        f"| {what} | `{' '.join(command)}` | **{ratio:g}**{'' if reached else ' (missed)'} | {sign} {bar:g} "
        f"| {facts['ours']} | {other} |"
    )


def _facts(found: dict[str, Any], who: str) -> str:
    shown: dict[str, Callable[[Any], str]] = {
        "s": lambda v: f"{v:.3g} s",
        "ms": lambda v: f"{v:.3g} ms",
        "rows_per_s": lambda v: f"{v:,} rows/s",
        "peak_mb": lambda v: f"{v:,} MB",
    }
    return ", ".join(text(found[f"{who}_{unit}"]) for unit, text in shown.items() if f"{who}_{unit}" in found)


def prediction(path: dict[str, Any], loop: dict[str, Any]) -> str:
    """Return the section about the prediction service."""
    lines = [_bar(what, path[member], bar, higher) for what, member, bar, higher in PATH]
    lines += [_bar(what, loop[member], bar, False) for what, member, bar in LOOP]
    soak = loop["soak"]
    outage = ", ".join(f"{count:,} times {status}" for status, count in sorted(soak["in_outage"].items()))
    speed = (
        f"One worker of ours answers {path['ours_rps']:,} requests/s (99th percentile {path['ours_p99_ms']:g} ms), "
        f"`feast serve` {path['stock_rps']:,} ({path['stock_p99_ms']:g} ms), the route that does nothing "
        f"{path['bare_rps']:,}. Alone on its connection a request takes {path['one_ms']:g} ms, one for 100 entities "
        f"{path['hundred_ms']:g} ms. The knee is at {loop['knee_1']:,} requests/s of one entity and "
        f"{loop['knee_100']:,} of 100; at half of it 95 % are answered within {loop['p95_1_ms']:g} and "
        f"{loop['p95_100_ms']:g} ms, where 100 were asked for. Two workers that share these cores with "
        f"the load and the store answer {path['two_workers_ratio']:g} times the requests of one."
    )
    soaked = (
        f"The soak: {soak['requests']:,} requests at {loop['soak_rate']:.0f}/s, "
        f"{sum(soak['failed_outside'].values())} errors, {soak['wrong']} wrong answers; around the outage {outage}; "
        f"the last error {soak['recovery_s']:g} s after the store was back; {soak['mb_first']} MB at first, "
        f"{soak['mb_middle']} in the middle third, {soak['mb_last']} in the last."
    )
    said = "".join(f"\n{textwrap.fill(paragraph, 120)}\n" for paragraph in (speed, soaked))
    return PREDICTION.format(share=SHARE) + "\n".join(lines) + "\n" + said


def _bar(what: str, found: float | None, bar: float, higher: bool) -> str:
    if found is None:
        return f"| {what} | not measured here | {'≥' if higher else '≤'} {bar:g} |"
    reached = found >= bar if higher else found <= bar
    return f"| {what} | **{found:g}**{'' if reached else ' (missed)'} | {'≥' if higher else '≤'} {bar:g} |"


def main() -> None:
    """Measure everything and write the page."""
    rows = [row(*run, measure(run[1])) for run in RUNS]
    service = prediction(measure(["predict"]), measure(["soak", "--minutes", "10"]))
    head = HEAD.format(
        cores=os.cpu_count(), python=platform.python_version(), duckdb=version("duckdb"), feast=version("feast")
    )
    _, by_hand, text = PAGE.read_text(encoding="utf-8").partition(BY_HAND)
    PAGE.write_text(head + "\n".join(rows) + f"\n{FOOT}{service}\n{by_hand}{text}", encoding="utf-8")
    print(f"wrote {PAGE.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
