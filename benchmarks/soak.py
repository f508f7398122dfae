"""Open-loop load on the prediction service: its knee, latencies at half of that, and a soak with the store killed.

Run: ``python -m benchmarks.soak --minutes 10``; prints one line of JSON, and ends with 1 where a promise is broken.
Needs a feature repo that was built with ``punctual up --check``; it is copied, with a Valkey of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import uvloop

from benchmarks.open_loop import Answers, OpenLoop
from benchmarks.predict import predictions
from benchmarks.stack import Server, Stack, stack

SAMPLES = 10_000
AT_LEAST_SECONDS = 60.0  # the latencies at half the knee are looked at: a machine that is shared has bad seconds
KNEE_MS = 50.0  # where the 99th percentile leaves the milliseconds, a queue is building up
STEP_SECONDS = 4.0
GROWTH = 1.25
RECOVERY_SECONDS = 2.0
DOWN_SECONDS = 5.0
FLAT = 1.10  # memory in the last third of a soak, of that in its middle third


def say(text: str) -> None:
    """Tell how far we are."""
    print(text, file=sys.stderr, flush=True)


async def knee(loop: OpenLoop, first: float) -> float:
    """Return the highest rate (requests a second) whose 99th percentile stayed below :data:`KNEE_MS`.

    A rate that does not is tried once more: what the machine does beside is no knee.
    """
    rate, good, tries = first, 0.0, 2
    while True:
        answers = await loop.run(rate, STEP_SECONDS)
        p99 = answers.percentile(0.99)
        say(f"{rate:.0f}/s: p50 {answers.percentile(0.5):.1f} ms, p99 {p99:.1f} ms, {answers.kinds}")
        if p99 <= KNEE_MS and not answers.failed:
            good, rate, tries = rate, rate * GROWTH, 2
            continue
        tries -= 1
        if tries:
            await asyncio.sleep(1)
        elif good:
            return good
        else:
            rate, tries = rate / 2, 2  # begun too high


@dataclass
class Soak:
    """What a soak saw.

    Attributes
    ----------
    killed, back : float
        When the store was killed, and when it answered again (seconds of the monotonic clock).
    megabytes : list of (float, int)
        Memory of the largest worker over time.
    """

    answers: Answers
    killed: float
    back: float
    megabytes: list[tuple[float, int]]

    def facts(self) -> dict[str, Any]:
        """Return what counts, and which promises were broken."""
        outage = (self.killed - 0.5, self.back + RECOVERY_SECONDS)
        outside = [(at, status) for at, status in self.answers.statuses if not outage[0] <= at <= outage[1]]
        inside = Counter(status for at, status in self.answers.statuses if outage[0] <= at <= outage[1])
        after = [at for at, status in self.answers.statuses if at > self.back and status != 200]
        start, end = self.megabytes[0][0], self.megabytes[-1][0]
        middle, last = (
            max(mb for at, mb in self.megabytes if at >= start + (end - start) * share and at <= until)
            for share, until in ((1 / 3, start + (end - start) * 2 / 3), (2 / 3, end))
        )
        failed = Counter(status for _, status in outside if status != 200)
        broken = [
            *(["errors outside of the outage"] if failed else []),
            *(["other answers than 200 and 503 in the outage"] if set(inside) - {200, 503} else []),
            *(["wrong answers"] if self.answers.wrong else []),
            *(["memory grew"] if last > FLAT * middle else []),
        ]
        return {
            "requests": len(self.answers.statuses),
            "failed_outside": dict(failed),
            "in_outage": dict(inside),
            "recovery_s": round(max([0.0, *(at - self.back for at in after)]), 2),
            "wrong": len(self.answers.wrong),
            "mb_first": self.megabytes[0][1],
            "mb_middle": middle,
            "mb_last": last,
            "broken": broken,
        }


async def soak(loop: OpenLoop, server: Server, stack: Stack, rate: float, seconds: float) -> Soak:
    """Keep up a rate, with the store killed in the middle and started again."""
    megabytes: list[tuple[float, int]] = []

    async def watch() -> None:
        while True:
            megabytes.append((time.perf_counter(), max(server.megabytes())))
            await asyncio.sleep(2)

    async def outage() -> tuple[float, float]:
        await asyncio.sleep(seconds / 2)
        killed = time.perf_counter()
        os.kill(stack.pid, signal.SIGKILL)
        say("the store is killed")
        await asyncio.sleep(DOWN_SECONDS)
        await asyncio.to_thread(stack.start)
        say("the store is back")
        return killed, time.perf_counter()

    watching = asyncio.create_task(watch())
    answers, (killed, back) = await asyncio.gather(loop.run(rate, seconds), outage())
    watching.cancel()
    return Soak(answers, killed, back, megabytes)


def same_as_first(bodies: list[dict[str, Any]], server: Server) -> Callable[[int, bytes], str]:
    """Ask for everything once; what is said later must be the same."""
    first = []
    with httpx.Client(headers={"authorization": f"Bearer {server.key}"}, timeout=30) as client:
        for body in bodies:
            answer = client.post(f"{server.url}/predict", json=body).raise_for_status().json()
            first.append([(p["probability"], p["class"]) for p in answer["predictions"]])

    def check(number: int, body: bytes) -> str:
        said = [(p["probability"], p["class"]) for p in json.loads(body)["predictions"]]
        return "" if said == first[number] else f"request {number}: {said} instead of {first[number]}"

    return check


async def latencies(stack: Stack, server: Server) -> dict[str, Any]:
    """Find the knee for one entity and for a hundred, and the latencies at half of each: medians of several runs."""
    found: dict[str, Any] = {}
    url = f"{server.url}/predict"
    for size, first in ((1, 200.0), (100, 10.0)):
        bodies = [json.dumps(body).encode() for body in predictions(stack, size)]
        loop = OpenLoop(url, server.key, bodies)
        await loop.run(first, 2)
        rate = await knee(loop, first)
        seconds = SAMPLES / (rate / 2)
        runs = [await loop.run(rate / 2, seconds) for _ in range(_odd(AT_LEAST_SECONDS / seconds))]
        loop.close()
        found[f"knee_{size}"] = round(rate)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            found[f"{name}_{size}_ms"] = round(median(run.percentile(share) for run in runs), 2)
        found[f"p99_{size}_ms_of_each"] = [round(run.percentile(0.99), 2) for run in runs]
        found[f"samples_{size}"] = sum(len(run.latencies) for run in runs)
        say(f"{size}: {found}")
    return found


def _odd(number: float) -> int:
    """Return the number, up to a whole odd one: a median of as many is one of them."""
    return math.ceil(number) | 1


async def measure(stack: Stack, server: Server, minutes: float, rate: float | None) -> dict[str, Any]:
    """Measure knee and latencies, unless a rate is given, and soak at half the knee or that rate."""
    found: dict[str, Any] = {} if rate else await latencies(stack, server)
    if minutes:
        asked = predictions(stack, 1)[:1000]
        check = same_as_first(asked, server)
        loop = OpenLoop(f"{server.url}/predict", server.key, [json.dumps(body).encode() for body in asked], check)
        found["soak_rate"] = rate or found["knee_1"] / 2
        found["soak"] = (await soak(loop, server, stack, found["soak_rate"], minutes * 60)).facts()
        loop.close()
    return found


def main() -> None:
    """Parse the arguments and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of the soak; 0 for none")
    parser.add_argument("--rate", type=float, help="requests a second of the soak, instead of half the knee")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        stack(Path(folder)) as built,
        built.ours(workers=arguments.workers) as server,
    ):
        found = uvloop.run(measure(built, server, arguments.minutes, arguments.rate))
    print(json.dumps({"workers": arguments.workers, **found}))
    if found.get("soak", {}).get("broken"):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
