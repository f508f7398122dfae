"""Load as fast as the server answers: ``wrk``."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
