"""Load: as fast as the server answers (``wrk``), or at a rate that does not care how it answers (open loop)."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_SCRIPT = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local i = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %s"
request = function()
  i = i %% #bodies + 1
  return wrk.format(nil, nil, nil, bodies[i])
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("@ %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"""
_STEP_SECONDS = 0.001


@dataclass(frozen=True)
class Rate:
    """What wrk found: requests a second, median and 99th percentile in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float


def wrk(url: str, bodies: Sequence[Any], *, key: str, connections: int, seconds: float) -> Rate:
    """Ask as fast as ``connections`` connections get answers; any error ends the benchmark."""
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("wrk is not installed: apt-get install wrk (or brew install wrk).")
    with tempfile.TemporaryDirectory() as folder:
        lines, script = Path(folder) / "bodies", Path(folder) / "load.lua"
        lines.write_text("".join(json.dumps(body) + "\n" for body in bodies), encoding="utf-8")
        script.write_text(_SCRIPT % (lines, key), encoding="utf-8")
        command = [program, "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(script), url]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        said = done.stdout + done.stderr
    found = re.search(r"^@ (\d+) (\d+) (\d+) (\d+) (\d+)$", said, re.MULTILINE)
    if found is None:
        raise SystemExit(f"wrk said: {said}")
    requests, duration, p50, p99, errors = map(int, found.groups())
    if errors or not requests:
        raise SystemExit(f"{errors} of {requests} requests to {url} failed.")
    return Rate(requests / (duration / 1e6), p50 / 1e3, p99 / 1e3)


@dataclass
class Answers:
    """What came of an open-loop run.

    Attributes
    ----------
    latencies : list of float
        Seconds from the moment that a request was due, not from the one that it was sent: a server that stalls makes
        those wait that come meanwhile, and that is counted.
    statuses : list of (float, int)
        When each answer came (seconds of the monotonic clock), and its status; 0 where the connection broke.
    """

    latencies: list[float] = field(default_factory=list)
    statuses: list[tuple[float, int]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Return a percentile of the latencies, in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    @property
    def kinds(self) -> dict[int, int]:
        """How many answers there were of each status."""
        return dict(Counter(status for _, status in self.statuses))

    @property
    def failed(self) -> int:
        """How many were not answered with a 200."""
        return sum(status != 200 for _, status in self.statuses)


class OpenLoop:
    """Sends requests when they are due, over raw connections, whether or not earlier ones are answered.

    Parameters
    ----------
    url, key : str
        Where to send them, and what to show.
    bodies : sequence of bytes
        Sent in turn.
    check : callable, optional
        Looks at a request's number and its answer's body, and returns what is wrong with it, or an empty text.
    """

    def __init__(self, url: str, key: str, bodies: Sequence[bytes], check: Any = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
        self._requests = [
            f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            for body in bodies
        ]
        self._check = check
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def run(self, per_second: float, seconds: float) -> Answers:
        """Send ``per_second`` requests a second, evenly."""
        answers = Answers()
        gc.collect()
        gc.freeze()  # what is here by now is not to be looked through meanwhile: that stop would be the service's fault
        start = time.perf_counter() + 0.05
        tasks = set()
        for number in range(int(per_second * seconds)):
            due = start + number / per_second
            # Up to a millisecond late, the loop's finest step, which counts as latency: waiting for the moment itself
            # would keep busy a core that the service could use.
            while (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(max(wait, _STEP_SECONDS))
            task = asyncio.create_task(self._one(number % len(self._requests), due, answers))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        return answers

    def close(self) -> None:
        """Close the connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():  # a server closes connections that nothing comes over
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)

    async def _one(self, number: int, due: float, answers: Answers) -> None:
        status, body = 0, b""
        try:
            connection = reader, writer = await self._connection()
            writer.write(self._requests[number])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            status = int(head[9:12])
            self._idle.append(connection)
        except (OSError, asyncio.IncompleteReadError):
            status = 0
        now = time.perf_counter()
        answers.latencies.append(now - due)
        answers.statuses.append((now, status))
        if status == 200 and self._check is not None and (wrong := self._check(number, body)):
            answers.wrong.append(wrong)
